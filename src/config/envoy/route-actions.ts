import type { Context } from './context.ts'
import type { Manager } from './managers.ts'
import { directHeader } from './original-dst.ts'
import { entriesOf, type Route, routesOf } from './routes.ts'
import type { Setting } from './setting.ts'

/** Checks where requests go, and what becomes of them on the way, after the decision. */
export function lintRoutes(manager: Manager, context: Context): void {
  for (const config of manager.routeConfigs) {
    lintHosts(manager.config, config, context)
    lintAdded(config, context)
    for (const host of config.at('virtual_hosts').items) lintAdded(host, context)
    const once = new Set<Setting>()
    for (const route of routesOf(config)) {
      if (once.has(route.entry)) continue
      once.add(route.entry)
      lintRoute(route, context)
    }
    lintCatchAll(config, context)
  }
}

/** Whether Envoy and Postern choose by the same host. */
function lintHosts(manager: Setting, config: Setting, { findings }: Context): void {
  const header = config.at('vhost_header')
  if (header.present)
    findings.tell('host-by-header', header, `virtual hosts are chosen by the header ${header.shown}`, 'leave vhost_header out')
  const domains = config.at('virtual_hosts').items.flatMap((host) => host.at('domains').texts)
  const named = domains.find((domain) => domain !== '*')
  if (named === undefined) return
  const port =
    config.at('ignore_port_in_host_matching').on || manager.at('strip_any_host_port').on || manager.at('strip_matching_host_port').on
  const all = new Set(domains)
  const both = domains.filter((domain) => domain !== '*' && !domain.endsWith(':*')).every((domain) => all.has(`${domain}:*`))
  if (!port && !both)
    findings.tell(
      'host-port',
      config.at('ignore_port_in_host_matching'),
      `"${named}" is not chosen where a client sends its port`,
      'ignore_port_in_host_matching: true',
    )
  if (!manager.at('strip_trailing_host_dot').on)
    findings.tell(
      'host-trailing-dot',
      manager.at('strip_trailing_host_dot'),
      `"${named}" is not chosen where a client sends "${named}."`,
      'strip_trailing_host_dot: true',
    )
}

/** Headers that a route configuration, a virtual host, a route or a weighted cluster adds come after the decision. */
export function lintAdded(level: Setting, { findings, policy }: Context): void {
  const prefix = policy?.headers.find((name) => name.endsWith('subject'))?.slice(0, -'subject'.length) ?? 'x-postern-'
  for (const added of level.at('request_headers_to_add').items) {
    const key = added.at('header', 'key')
    const name = (key.text ?? '').toLowerCase()
    if (name === 'authorization' || name === directHeader || name.startsWith(prefix))
      findings.tell('route-overwrites-identity', key, `the header ${name} is added to requests`, 'another name: this one is Postern’s')
  }
}

function lintRoute({ name, entry }: Route, context: Context): void {
  const { tell } = context.findings
  lintAdded(entry, context)
  const action = entry.at('route')
  for (const cluster of action.at('weighted_clusters', 'clusters').items) lintAdded(cluster, context)
  const clusters = [
    action.at('cluster_header'),
    ...action.at('weighted_clusters', 'clusters').items.map((cluster) => cluster.at('cluster_header')),
  ]
  for (const header of clusters)
    if (header.present)
      tell(
        'cluster-by-header',
        header,
        `the route "${name.route}" takes its upstream from the header ${header.shown}`,
        'cluster: with a name',
        { route: name },
      )
  const internal = action.at('internal_redirect_policy')
  if (internal.present)
    tell(
      'internal-redirect',
      internal,
      `the route "${name.route}" follows redirects of its upstream`,
      'leave internal_redirect_policy out',
      {
        route: name,
      },
    )
  const mirror = action.at('request_mirror_policies')
  if (mirror.items.length > 0)
    tell(
      'request-mirror',
      mirror,
      `requests of the route "${name.route}" are copied to another cluster`,
      'request_headers_mutations there that remove authorization, or leave request_mirror_policies out',
      { route: name },
    )
}

/** A last route for all, at each virtual host, and a virtual host for all. */
function lintCatchAll(config: Setting, { findings }: Context): void {
  const hosts = config.at('virtual_hosts').items
  if (hosts.length === 0) return
  if (!hosts.some((host) => host.at('domains').texts.includes('*')))
    findings.tell(
      'catch-all-missing',
      config.at('virtual_hosts'),
      'no virtual host has the domain "*"',
      'as last one domains: ["*"] and { match: { prefix: / }, direct_response: { status: 404 } }',
    )
  for (const host of hosts) {
    const covers = entriesOf(host).some((entry) => entry.at('match', 'prefix').text === '/' && entry.at('match').members.length === 1)
    if (!covers)
      findings.tell(
        'catch-all-missing',
        host.at('routes'),
        `the virtual host "${host.at('name').shown}" has no route for all paths`,
        'a last route { match: { prefix: / }, direct_response: { status: 404 } }',
        {
          route: { virtualHost: host.at('name').text ?? '', route: 'none' },
        },
      )
  }
}
