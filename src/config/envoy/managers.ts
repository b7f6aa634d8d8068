import type { Findings } from './finding.ts'
import { type EnvoyResources, isType, typedOf } from './model.ts'
import type { Setting } from './setting.ts'

/** One HTTP filter of a chain. */
export interface HttpFilter {
  /** By which routes refer to it. */
  readonly name: string
  /** Of its configuration; empty where that is not in the files. */
  readonly type: string
  readonly config: Setting
  readonly entry: Setting
  /** Off, but on routes that turn it on. */
  readonly disabled: boolean
  /** Where a matcher decides whether it runs. */
  readonly matcher: Setting | undefined
}

/** One HTTP connection manager with what stands around it. */
export interface Manager {
  readonly listener: Setting
  readonly config: Setting
  readonly filters: readonly HttpFilter[]
  /** `DownstreamTlsContext` of its filter chain; undefined for plaintext. */
  readonly tls: Setting | undefined
  readonly routeConfigs: readonly Setting[]
}

export const isExtAuthz = ({ type }: HttpFilter): boolean => isType(type, 'http.ext_authz.v3.ExtAuthz')
export const isJwtAuthn = ({ type }: HttpFilter): boolean => isType(type, 'http.jwt_authn.v3.JwtAuthentication')

/** All connection managers of all listeners. */
export function managersOf(resources: EnvoyResources, findings: Findings): Manager[] {
  return resources.listeners.flatMap((listener) => {
    const chains = [...listener.at('filter_chains').items, listener.at('default_filter_chain')].filter((chain) => chain.present)
    const overTcp = chains.flatMap((chain) => chain.at('filters').items.map((filter) => ({ filter, chain })))
    const api = listener.at('api_listener', 'api_listener')
    return [
      ...overTcp.map(({ filter, chain }) => ({ typed: typedOf(filter.at('typed_config')), tls: downstreamTls(chain) })),
      ...(api.present ? [{ typed: typedOf(api), tls: undefined }] : []),
    ]
      .filter(({ typed }) => isType(typed.type, 'HttpConnectionManager'))
      .map(({ typed: { config }, tls }) => ({
        listener,
        config,
        tls,
        filters: filtersOf(config.at('http_filters'), resources, findings),
        routeConfigs: routeConfigsOf(config, resources, findings),
      }))
  })
}

/** The HTTP filters of a list, in their order. */
export function filtersOf(list: Setting, resources: EnvoyResources, findings: Findings): HttpFilter[] {
  return list.items.map((entry) => httpFilter(entry, resources, findings))
}

/** One HTTP filter, as it stands in a list or in a patch. */
export function httpFilter(entry: Setting, resources: EnvoyResources, findings: Findings): HttpFilter {
  const name = entry.at('name').text ?? ''
  const outer = typedOf(configOf(entry, name, resources, findings))
  const wrapped = isType(outer.type, 'ExtensionWithMatcher')
  const { type, config } = wrapped ? typedOf(outer.config.at('extension_config', 'typed_config')) : outer
  const matcher = wrapped ? outer.config.at(outer.config.at('xds_matcher').present ? 'xds_matcher' : 'matcher') : undefined
  return { name, type, config, entry, disabled: entry.at('disabled').on, matcher }
}

/** Its `typed_config`, or what ECDS gave it. */
function configOf(entry: Setting, name: string, resources: EnvoyResources, findings: Findings): Setting {
  const discovery = entry.at('config_discovery')
  if (!discovery.present) return entry.at('typed_config')
  const found = resources.filterConfigs.get(name)
  if (found) return found
  const fallback = discovery.at('default_config')
  if (!fallback.present) findings.unchecked(`the filter "${name}" comes by ECDS and is in no file: give a config dump`)
  return fallback
}

function downstreamTls(chain: Setting): Setting | undefined {
  const { type, config } = typedOf(chain.at('transport_socket', 'typed_config'))
  if (isType(type, 'DownstreamTlsContext')) return config
  return isType(type, 'QuicDownstreamTransport') ? config.at('downstream_tls_context') : undefined
}

function routeConfigsOf(manager: Setting, resources: EnvoyResources, findings: Findings): Setting[] {
  const named = (name: string | undefined): Setting[] => {
    const found = resources.routeConfigs.get(name ?? '')
    if (!found) findings.unchecked(`the routes "${name ?? ''}" come by RDS and are in no file: give them, or a config dump`)
    return found ? [found] : []
  }
  if (manager.at('rds').present) return named(manager.at('rds', 'route_config_name').text)
  const scoped = manager.at('scoped_routes')
  if (!scoped.present) return manager.at('route_config').present ? [manager.at('route_config')] : []
  const scopes = scoped.at('scoped_route_configurations_list', 'scoped_route_configurations').items
  if (scopes.length > 0)
    return scopes.flatMap((scope) =>
      scope.at('route_configuration').present ? [scope.at('route_configuration')] : named(scope.at('route_configuration_name').text),
    )
  // Scopes that come by SRDS: every route configuration that is known may be meant.
  findings.unchecked('scoped routes come by SRDS: all route configurations of the files were taken for theirs')
  return [...resources.routeConfigs.values()]
}
