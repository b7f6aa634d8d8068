import type { Context } from './context.ts'
import { asksPostern, isExtProc, lintOverridable } from './ext-proc.ts'
import type { HttpFilter, Manager } from './managers.ts'
import type { PolicyRoute } from './policy-routes.ts'
import { isCompared } from './route-coverage.ts'
import { samplesOfPolicy, takingOf } from './route-samples.ts'
import { perRoute, type Route, routesOf } from './routes.ts'
import type { Setting } from './setting.ts'

/** What a route of the policy loses where its responses are not shown to Postern. */
const lost = {
  captures: 'what it makes has no owner',
  removes: 'the owner of what it removes stays',
  filters: 'its list passes whole',
} as const

/** Checks that ext_proc runs on the Envoy routes that serve those of the policy which need it. */
export function lintProcessed(manager: Manager, context: Context): void {
  const { policy } = context
  const processors = manager.filters.filter((filter) => asksPostern(filter, context))
  for (const filter of processors)
    for (const config of manager.routeConfigs)
      for (const route of routesOf(config)) {
        const own = perRoute(route, filter.name)
        if (own && !own.disabled) lintOverridable(own.config.at('overrides'), context)
      }
  const needed = policy?.routes.filter(({ processed }) => processed !== undefined) ?? []
  if (needed.length === 0) return
  const told = new Set<string>()
  for (const { config, taken } of manager.routeConfigs.map(takingOf)) {
    for (const one of needed) {
      const serving = new Set(samplesOfPolicy(one, config).flatMap(taken))
      for (const route of serving) {
        if (!route.forwards || (policy && !isCompared(route, manager, policy))) continue
        if (processors.some((filter) => runs(filter, route, processors))) continue
        if (processors.length > 0) tellUnasked(one, route, processors[0]!, context)
        else if (!told.has(one.id)) tellMissing(one, manager, context)
        told.add(one.id)
      }
    }
  }
}

/** Whether Postern sees the requests of a route by this filter. */
function runs(filter: HttpFilter, route: Route, processors: readonly HttpFilter[]): boolean {
  const own = perRoute(route, filter.name)
  if (!own) return !filter.disabled
  if (own.disabled) return false
  const other = own.config.at('overrides', 'grpc_service')
  return !other.present || asksAsOne(other, processors)
}

const asksAsOne = (service: Setting, processors: readonly HttpFilter[]): boolean =>
  processors.some(
    ({ config }) => config.at('grpc_service', 'envoy_grpc', 'cluster_name').text === service.at('envoy_grpc', 'cluster_name').text,
  )

function tellUnasked({ id, processed }: PolicyRoute, route: Route, filter: HttpFilter, { findings }: Context): void {
  const own = perRoute(route, filter.name)
  findings.tell(
    'ext-proc-route-unasked',
    own?.disabled ?? own?.at ?? route.entry,
    `"${filter.name}" does not run on the route "${route.name.route}" of the virtual host "${route.name.virtualHost}", and the route "${id}" of the policy ${processed}: ${lost[processed ?? 'captures']}`,
    `typed_per_filter_config: { ${filter.name}: { "@type": …ExtProcPerRoute, overrides: {} } }`,
    { route: route.name },
  )
}

function tellMissing({ id, processed }: PolicyRoute, { config, filters }: Manager, context: Context): void {
  const { findings, policy } = context
  const other = filters.find(isExtProc)
  findings.tell(
    'ext-proc-missing',
    other?.entry ?? config.at('http_filters'),
    policy?.extProc
      ? `no ext_proc asks at listen.ext_proc of the policy, and its route "${id}" ${processed}: ${lost[processed ?? 'captures']}`
      : `the policy has no listen.ext_proc, and its route "${id}" ${processed}`,
    'put ext_proc after ext_authz, as envoy/capture.yaml has it',
  )
}
