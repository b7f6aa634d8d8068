import { parse } from 'yaml'
import { envoyFile } from '../support/envoy.ts'
import { envoyText } from '../support/envoy-document.ts'

/** A part of an Envoy configuration. */
// biome-ignore lint/suspicious/noExplicitAny: Envoy's own types are not here, and Envoy refuses what is wrong
type Part = Record<string, any>

/** Where the parts of the platform listen, on 127.0.0.1. */
export interface Places {
  readonly agentSocket: string
  readonly keycloak: number
  /** The `iss` of the first tenant's tokens. */
  readonly issuer: string
  readonly checks: readonly number[]
  readonly processors: readonly number[]
  readonly workloadmanager: number
  /** The sandbox with mTLS, the one with a token alone, and that of the other tenant. */
  readonly sandbox: number
  readonly sandboxAtOnce: number
  readonly sandboxOfAcme: number
}

/**
 * envoy/spire.yaml with two replicas of Postern, ext_proc as envoy/capture.yaml has it, and a host for each tenant. Connections to Postern
 * and to the upstreams end after a second, so that renewed certificates are proved.
 */
export function edgeConfiguration(at: Places): Part {
  const keys = `/realms/${at.issuer.split('/realms/')[1]}/protocol/openid-connect/certs`
  const text = envoyFile('spire.yaml', {
    'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
    'address: 0.0.0.0, port_value: 10000': 'address: 127.0.0.1, port_value: 0',
    'issuer: https://keycloak.example/realms/default': `issuer: ${at.issuer}`,
    'uri: https://keycloak.example/realms/default/protocol/openid-connect/certs': `uri: http://keycloak.example${keys}`,
    'address: keycloak.example, port_value: 443': `address: 127.0.0.1, port_value: ${at.keycloak}`,
    '/run/spire/agent-sockets/spire-agent.sock': at.agentSocket,
    'port_value: 8081': `port_value: ${at.workloadmanager}`,
    'port_value: 8082': `port_value: ${at.sandbox}`,
    'max_connection_duration: 3600s': 'max_connection_duration: 1s',
  })
  const edge = parse(text) as Part
  const clusters: Part[] = edge['static_resources'].clusters
  const cluster = (name: string): Part => found(clusters, name)
  // A Keycloak of start-dev has no certificate.
  delete cluster('users_jwks')['transport_socket']
  const postern = cluster('postern')
  postern['load_assignment'] = assignment('postern', at.checks)
  clusters.push(
    { ...structuredClone(postern), name: 'postern_ext_proc', load_assignment: assignment('postern_ext_proc', at.processors) },
    plaintext('sandbox_at_once', at.sandboxAtOnce),
    plaintext('sandbox_of_acme', at.sandboxOfAcme),
  )
  const manager = managerOf(edge)
  const filters: Part[] = manager['http_filters']
  const processor = found(managerOf(parse(envoyText('capture.yaml')))['http_filters'], 'envoy.filters.http.ext_proc')
  filters.splice(filters.length - 1, 0, processor)
  manager['route_config'].virtual_hosts = [
    host('agentcube', [
      { match: { safe_regex: { regex: '/v1/sandboxes/[^/]+/fast(/.*)?' } }, route: { cluster: 'sandbox_at_once', timeout: '10s' } },
      { match: { path: '/v1/sandboxes' }, route: { cluster: 'workloadmanager', timeout: '10s' }, ...processed },
      {
        match: { safe_regex: { regex: '/v1/sandboxes/[^/]+' } },
        route: { cluster: 'workloadmanager', timeout: '10s' },
        ...processed,
      },
      { match: { prefix: '/v1/sandboxes/' }, route: { cluster: 'sandbox', timeout: '10s' } },
    ]),
    host('acme', [{ match: { prefix: '/v1/sandboxes/' }, route: { cluster: 'sandbox_of_acme', timeout: '10s' } }]),
    { name: 'others', domains: ['*'], routes: [nothing] },
  ]
  return edge
}

/** What no other route takes is asked about, too. */
const nothing = { match: { prefix: '/' }, direct_response: { status: 404 } }

/** On such a route Postern follows the answer. */
const processed = {
  typed_per_filter_config: {
    'envoy.filters.http.ext_proc': {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute',
      overrides: {},
    },
  },
}

/** The host of a tenant says whose it is. */
const host = (realm: string, routes: readonly Part[]): Part => ({
  name: realm,
  domains: [`${realm}.example`],
  typed_per_filter_config: {
    'envoy.filters.http.ext_authz': {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
      check_settings: { context_extensions: { realm } },
    },
  },
  routes: [...routes, nothing],
})

const assignment = (name: string, ports: readonly number[]): Part => ({
  cluster_name: name,
  endpoints: [
    { lb_endpoints: ports.map((port) => ({ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } })) },
  ],
})

const plaintext = (name: string, port: number): Part => ({
  name,
  type: 'STATIC',
  connect_timeout: '1s',
  load_assignment: assignment(name, [port]),
})

const managerOf = (config: Part): Part => config['static_resources'].listeners[0].filter_chains[0].filters[0].typed_config

function found(list: readonly Part[], name: string): Part {
  const one = list.find((part) => part['name'] === name)
  if (!one) throw new Error(`Envoy's configuration was expected to have ${name}`)
  return one
}
