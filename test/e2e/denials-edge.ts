import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** Envoy in plaintext with Postern beside it, for real clients of many kinds. */
export interface ClientsEdge {
  readonly envoy: RunningEnvoy
  /** Of a listener whose only filters are ext_authz and the router; HTTP/1.1 and HTTP/2. */
  readonly port: number
  /** Of one that has the grpc_web filter before ext_authz. */
  readonly webPort: number
  readonly postern: RunningPostern
  /** Of Postern's issuer listener. */
  readonly issuer: string
  /** Of Postern's admin listener, host and port. */
  readonly admin: string
  readonly users: OidcIssuer
  readonly stop: () => Promise<void>
}

/**
 * Starts Envoy, Postern and an issuer of tokens in front of an upstream.
 * @param policy YAML; `@check@`, `@admin@`, `@issuer@` (host:port), `@users@` (an issuer), `@port@` (Envoy's) and `@folder@` are filled in
 * @param upstream its port
 * @param concurrency worker threads of Envoy, each with a connection of its own to Postern
 */
export async function startClientsEdge(policy: string, upstream: number, concurrency = 1): Promise<ClientsEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const users = started(await startOidc())
    const [admin = 0, issuer = 0, port = 0] = await freePorts(3)
    const values: Record<string, string> = {
      ...{ check: `unix:${folder.file('check.sock')}`, admin: `127.0.0.1:${admin}`, issuer: `127.0.0.1:${issuer}` },
      ...{ users: users.issuer, port: String(port), folder: folder.path },
    }
    const filled = (text: string): string => text.replace(/@([a-z]+)@/g, (whole, name: string) => values[name] ?? whole)
    const postern = started(await startPostern(filled(policy)))
    const envoy = started(await startEnvoy(envoyConfig(port, folder.file('check.sock'), upstream, issuer), concurrency))
    const rewrite = (text: string): void => postern.rewrite(filled(text))
    return {
      ...{ envoy, port, webPort: envoy.port('web'), postern: { ...postern, rewrite } },
      ...{ issuer: `http://127.0.0.1:${issuer}`, admin: `127.0.0.1:${admin}`, users, stop },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const typed = (name: string) => ({ '@type': `type.googleapis.com/envoy.extensions.${name}` })
const at = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })
const grpcWeb = { name: 'envoy.filters.http.grpc_web', typed_config: typed('filters.http.grpc_web.v3.GrpcWeb') }

function envoyConfig(port: number, check: string, upstream: number, issuer: number): object {
  const cluster = (name: string, address: object, http2 = false) => ({
    ...{ name, type: 'STATIC', connect_timeout: '1s' },
    ...(http2 ? { typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': speaksHttp2 } } : {}),
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
  })
  return {
    admin: { address: at(0) },
    static_resources: {
      listeners: [listener('edge', port, []), listener('web', 0, [grpcWeb])],
      clusters: [cluster('postern', { pipe: { path: check } }, true), cluster('upstream', at(upstream)), cluster('issuer', at(issuer))],
    },
  }
}

const speaksHttp2 = {
  ...typed('upstreams.http.v3.HttpProtocolOptions'),
  explicit_http_config: { http2_protocol_options: {} },
}

function listener(name: string, port: number, filters: readonly object[]): object {
  const authorize = {
    ...typed('filters.http.ext_authz.v3.ExtAuthz'),
    ...{ transport_api_version: 'V3', failure_mode_allow: false, status_on_error: { code: 'ServiceUnavailable' } },
    grpc_service: { envoy_grpc: { cluster_name: 'postern' }, timeout: '1s' },
  }
  const manager = {
    ...typed('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    ...{
      stat_prefix: name,
      codec_type: 'AUTO',
      normalize_path: true,
      merge_slashes: true,
      path_with_escaped_slashes_action: 'REJECT_REQUEST',
    },
    common_http_protocol_options: { headers_with_underscores_action: 'REJECT_REQUEST' },
    upgrade_configs: [{ upgrade_type: 'websocket' }],
    http2_protocol_options: { allow_connect: true },
    access_log: [
      {
        name: 'envoy.access_loggers.stdout',
        typed_config: {
          ...typed('access_loggers.stream.v3.StdoutAccessLog'),
          log_format: {
            json_format: {
              path: '%PATH(NQ)%',
              status: '%RESPONSE_CODE%',
              reason: metadata('reason'),
              decision_id: metadata('decision_id'),
            },
          },
        },
      },
    ],
    http_filters: [
      ...filters,
      { name: 'envoy.filters.http.ext_authz', typed_config: authorize },
      { name: 'envoy.filters.http.router', typed_config: typed('filters.http.router.v3.Router') },
    ],
    route_config: {
      virtual_hosts: [
        {
          ...{ name: 'all', domains: ['*'] },
          routes: [
            { match: { prefix: '/.well-known/oauth-protected-resource' }, route: { cluster: 'issuer' } },
            { match: { prefix: '/' }, route: { cluster: 'upstream', timeout: '5s' } },
          ],
        },
      ],
    },
  }
  return {
    ...{ name, address: at(port) },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
  }
}

const metadata = (member: string): string => `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:${member})%`
