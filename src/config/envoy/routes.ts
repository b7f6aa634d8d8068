import type { RouteName } from './finding.ts'
import { isType, typedOf } from './model.ts'
import type { Setting } from './setting.ts'

/** One way that a request can take through a route configuration. */
export interface Route {
  readonly name: RouteName
  readonly entry: Setting
  /** Whether an upstream sees its requests; else Envoy answers itself. */
  readonly forwards: boolean
  /** Where `typed_per_filter_config` may stand, the most specific first. */
  readonly levels: readonly Setting[]
}

/** All routes of a route configuration, and each cluster of those that split their requests. */
export function routesOf(routeConfig: Setting): Route[] {
  return routeConfig.at('virtual_hosts').items.flatMap((host) => {
    const virtualHost = host.at('name').text ?? host.at('domains').texts.join(', ')
    return entriesOf(host).flatMap((entry) => {
      const name = { virtualHost, route: routeName(entry) }
      const forwards = !entry.at('redirect').present && !entry.at('direct_response').present && !entry.at('non_forwarding_action').present
      const levels = [entry, host, routeConfig]
      const own = entry
        .at('route', 'weighted_clusters', 'clusters')
        .items.filter((cluster) => cluster.at('typed_per_filter_config').present)
      return [{ name, entry, forwards, levels }, ...own.map((cluster) => ({ name, entry, forwards, levels: [cluster, ...levels] }))]
    })
  })
}

/** A virtual host's routes: its list, or what its matcher chooses among. */
export function entriesOf(host: Setting): Setting[] {
  const matcher = host.at('matcher')
  if (!matcher.present) return host.at('routes').items
  return [...matcher.walk()]
    .filter((setting) => isType(setting.at('@type').text ?? '', 'route.v3.Route'))
    .map((setting) => typedOf(setting).config)
}

/** The name of a route, or what it matches. */
export function routeName(entry: Setting): string {
  const name = entry.at('name').text
  if (name) return name
  const match = entry.at('match')
  const kinds = ['path', 'prefix', 'path_separated_prefix'] as const
  for (const kind of kinds) if (match.at(kind).present) return `${kind} ${match.at(kind).shown}`
  const regex = match.at('safe_regex', 'regex')
  return regex.present ? `safe_regex ${regex.shown}` : (match.members[0]?.[0] ?? 'any')
}

/** What a route says of one filter. */
export interface PerRoute {
  readonly at: Setting
  readonly type: string
  readonly config: Setting
  /** By a FilterConfig, or by the filter's own message. */
  readonly disabled: Setting | undefined
}

/** What holds for a filter on a route: the most specific that is said of it. */
export function perRoute({ levels }: Pick<Route, 'levels'>, filter: string): PerRoute | undefined {
  for (const level of levels) {
    const at = level.at('typed_per_filter_config', filter)
    if (at.present) return readPerRoute(at)
  }
  return undefined
}

/** Reads one entry of `typed_per_filter_config`. */
export function readPerRoute(at: Setting): PerRoute {
  const outer = typedOf(at)
  const inner = isType(outer.type, 'route.v3.FilterConfig') ? typedOf(outer.config.at('config')) : outer
  const off = [outer.config.at('disabled'), inner.config.at('disabled')].find((setting) => setting.on)
  return { at, type: inner.type, config: inner.config, disabled: off }
}
