// The two Envoys: the edge, which sends each host another way, and a router behind it.

export const type = (name: string) => ({ '@type': `type.googleapis.com/envoy.${name}` })
const loopback = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })

/** The host by which a request chooses its way. */
export const hosts = { direct: 'direct.bench', hop: 'hop.bench', lookup: 'lookup.bench' } as const

/** Who asks, where jwt_authn would leave it: verifying a token costs the same on every way. */
export const payload = { iss: 'https://bench.example', aud: 'bench', sub: 'alice', roles: ['invoke'], exp: Date.UTC(2100, 0) / 1000 }

export const claims = {
  name: 'envoy.filters.http.set_metadata',
  typed_config: {
    ...type('extensions.filters.http.set_metadata.v3.Config'),
    metadata: [{ metadata_namespace: 'envoy.filters.http.jwt_authn', value: { users: payload } }],
  },
}
export const extAuthz = {
  name: 'envoy.filters.http.ext_authz',
  typed_config: {
    ...type('extensions.filters.http.ext_authz.v3.ExtAuthz'),
    transport_api_version: 'V3',
    grpc_service: { envoy_grpc: { cluster_name: 'postern' }, timeout: '1s' },
    metadata_context_namespaces: ['envoy.filters.http.jwt_authn'],
  },
}
export const router = { name: 'envoy.filters.http.router', typed_config: type('extensions.filters.http.router.v3.Router') }

export function bootstrap(
  port: number,
  admin: string,
  filters: readonly object[],
  virtualHosts: readonly object[],
  clusters: readonly object[],
) {
  const manager = {
    ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    ...{ stat_prefix: 'bench', http_filters: filters, route_config: { virtual_hosts: virtualHosts } },
  }
  return {
    admin: { address: { pipe: { path: admin } } },
    static_resources: {
      listeners: [{ name: 'bench', address: loopback(port), filter_chains: [{ filters: [{ name: 'http', typed_config: manager }] }] }],
      clusters,
    },
  }
}

/** Connects to what Postern set, as envoy/direct.yaml has it. */
export const sandboxes = {
  name: 'sandboxes',
  type: 'ORIGINAL_DST',
  lb_policy: 'CLUSTER_PROVIDED',
  original_dst_lb_config: { use_http_header: true },
  connect_timeout: '1s',
  circuit_breakers: { thresholds: [{ max_connections: 10_000, max_pending_requests: 10_000, max_requests: 10_000 }] },
}

const fixed = (name: string, address: object) => ({
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
})

export function postern(socket: string) {
  const options = 'extensions.upstreams.http.v3.HttpProtocolOptions'
  return {
    ...fixed('postern', { pipe: { path: socket } }),
    typed_extension_protocol_options: {
      [`envoy.${options}`]: { ...type(options), explicit_http_config: { http2_protocol_options: {} } },
    },
  }
}

export const all = (name: string, domain: string, cluster: string) => ({
  ...{ name, domains: [domain], routes: [{ match: { prefix: '/' }, route: { cluster } }] },
})

/** Asks Postern, then goes straight to the sandbox, or to one of two routers. */
export const edgeConfig = (at: { port: number; admin: string; socket: string; hop: number; lookup: number }): object =>
  bootstrap(
    at.port,
    at.admin,
    [claims, extAuthz, router],
    [all('direct', hosts.direct, 'sandboxes'), all('hop', hosts.hop, 'hop'), all('lookup', hosts.lookup, 'lookup')],
    [postern(at.socket), sandboxes, fixed('hop', loopback(at.hop)), fixed('lookup', loopback(at.lookup))],
  )

/** A router that is told the address by the edge: nothing that forwards can do less. */
export const hopConfig = (at: { port: number; admin: string }): object =>
  bootstrap(at.port, at.admin, [router], [all('all', '*', 'sandboxes')], [sandboxes])

/** A router that finds the address out by itself: it asks a process beside it, which reads it from Redis. */
export const lookupConfig = (at: { port: number; admin: string; socket: string }): object =>
  bootstrap(at.port, at.admin, [claims, extAuthz, router], [all('all', '*', 'sandboxes')], [postern(at.socket), sandboxes])
