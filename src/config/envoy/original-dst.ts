import type { Context } from './context.ts'
import { isExtAuthz, type Manager } from './managers.ts'
import type { EnvoyResources } from './model.ts'
import { isCompared } from './route-coverage.ts'
import { samplesOfEntry, samplesOfPolicy, type Taking, takingOf } from './route-samples.ts'
import type { Route } from './routes.ts'
import type { Setting } from './setting.ts'

/** The header that Postern sets on direct routes, and removes on all others. */
export const directHeader = 'x-envoy-original-dst-host'

const isOriginalDst = (cluster: Setting): boolean =>
  /^(?:ORIGINAL_DST|4)$/.test(cluster.at('type').shown) || cluster.at('cluster_type', 'name').text === 'envoy.cluster.original_dst'

/** The clusters of a route that connect to what a header of the request says. */
function clustersByHeader({ entry }: Route, { clusters }: EnvoyResources): Setting[] {
  const action = entry.at('route')
  const names = [action.at('cluster').text, ...action.at('weighted_clusters', 'clusters').items.map((one) => one.at('name').text)]
  return names.flatMap((name) => {
    const cluster = clusters.get(name ?? '')
    const byHeader = cluster && isOriginalDst(cluster) && cluster.at('original_dst_lb_config', 'use_http_header').on
    return cluster && byHeader ? [cluster] : []
  })
}

/** Checks where an address in a header counts: direct routes of the policy alone may lead there. */
export function lintOriginalDst(manager: Manager, context: Context): void {
  for (const taking of manager.routeConfigs.map(takingOf)) {
    const byHeader = new Map<Route, Setting>()
    for (const route of taking.routes)
      for (const cluster of clustersByHeader(route, context.resources)) {
        byHeader.set(route, cluster)
        lintDirect(route, cluster, manager, context)
      }
    const compared = (route: Route): boolean => !context.policy || isCompared(route, manager, context.policy)
    const ofRealm = new Map([...byHeader].filter(([route]) => compared(route)))
    if (ofRealm.size > 0 && manager.filters.some(isExtAuthz)) lintSurelyDirect(taking, ofRealm, context)
    lintElsewhere({ ...taking, taken: (sample) => taking.taken(sample).filter(compared) }, byHeader, context)
  }
}

/** What is wrong whatever the policy says. */
function lintDirect(route: Route, cluster: Setting, manager: Manager, context: Context): void {
  const { tell, unchecked } = context.findings
  const { route: name } = route.name
  if (!manager.filters.some(isExtAuthz))
    tell(
      'original-dst-unasked',
      route.entry,
      `the route "${name}" of a listener without ext_authz connects to what a header says`,
      'another cluster, or put ext_authz there',
      { route: route.name },
    )
  const other = cluster.at('original_dst_lb_config', 'http_header_name')
  if (other.present && other.text?.toLowerCase() !== directHeader)
    tell(
      'original-dst-header',
      other,
      `the cluster "${cluster.at('name').shown}" reads the header ${other.shown}`,
      `leave ${other.name} out`,
    )
  for (const level of route.levels)
    for (const [i, removed] of level.at('request_headers_to_remove').texts.entries())
      if (removed.toLowerCase() === directHeader)
        tell(
          'direct-header-removed',
          level.at('request_headers_to_remove', i),
          `${directHeader} is removed before the cluster of the route "${name}" reads it`,
          'leave it out here; http_filters of the cluster remove it afterwards, as envoy/direct.yaml has them',
          { route: route.name },
        )
  if (!context.policy)
    unchecked(`without a policy (--config) it was not checked that routes to "${cluster.at('name').shown}" are direct: true there`)
}

/** Every request that reaches such a cluster must have its header from Postern. */
function lintSurelyDirect({ config, taken }: Taking, byHeader: ReadonlyMap<Route, Setting>, { findings, policy }: Context): void {
  if (!policy) return
  const others = new Map<Route, Set<string>>()
  const note = (route: Route, id: string): void => void others.set(route, (others.get(route) ?? new Set()).add(id))
  for (const one of policy.routes)
    if (!one.direct)
      for (const sample of samplesOfPolicy(one, config)) for (const route of taken(sample)) if (byHeader.has(route)) note(route, one.id)
  for (const host of config.at('virtual_hosts').items)
    for (const route of byHeader.keys()) {
      if (!route.levels.some((level) => level.pathText === host.pathText)) continue
      for (const sample of samplesOfEntry(route.entry, host)) {
        const found = policy.table.find(sample.host, sample.path === '/' ? [] : sample.path.slice(1).split('/'))
        const entry = found && found !== 'ambiguous' ? found.methods.get(sample.method) : undefined
        if (entry && !entry.route.owner?.direct && taken(sample).includes(route)) note(route, entry.route.id)
      }
    }
  for (const [route, ids] of others) {
    const named = [...ids].slice(0, mostNamed).map((id) => `"${id}"`)
    const more = ids.size > mostNamed ? ` and ${ids.size - mostNamed} more` : ''
    findings.tell(
      'original-dst-not-direct',
      route.entry,
      `the route "${route.name.route}" leads to "${byHeader.get(route)?.at('name').shown}", and ${named.join(', ')}${more} of the policy ${ids.size > 1 ? 'are' : 'is'} not direct`,
      'direct: true there, or a route of Envoy for it that leads elsewhere, before this one',
      { route: route.name },
    )
  }
}

/** No sentence names more routes. */
const mostNamed = 10

/** A direct route of the policy that does not lead to such a cluster: the address that Postern sets goes unused. */
function lintElsewhere({ config, taken }: Taking, byHeader: ReadonlyMap<Route, Setting>, { findings, policy }: Context): void {
  for (const one of policy?.routes.filter(({ direct }) => direct) ?? []) {
    for (const route of new Set(samplesOfPolicy(one, config).flatMap(taken))) {
      if (!route.forwards || byHeader.has(route)) continue
      findings.tell(
        'direct-without-original-dst',
        route.entry,
        `the route "${one.id}" of the policy is direct, and the route "${route.name.route}" does not lead to a cluster of type ORIGINAL_DST that reads the header`,
        'a cluster as envoy/direct.yaml has it, or direct: false',
        { route: route.name },
      )
    }
  }
}
