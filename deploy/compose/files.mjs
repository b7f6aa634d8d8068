/**
 * Writes the configurations that docker-compose.yml and its overlays mount, from envoy/capture.yaml and deploy/docker/postern.yaml, which
 * say what each setting is for. Run it after a change of either: node deploy/compose/files.mjs
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse, stringify } from 'yaml'

const checkout = fileURLToPath(new URL('../../', import.meta.url))
const spiffe = (/** @type {string} */ name) => `spiffe://cluster.local/ns/agentcube-system/sa/${name}`
const upstreamTls = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext'
const modern = { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' }
const files = { crt: '/etc/envoy/tls/tls.crt', key: '/etc/envoy/tls/tls.key', ca: '/etc/envoy/tls/ca.crt' }
const ownFiles = [{ certificate_chain: { filename: files.crt }, private_key: { filename: files.key } }]

/** @param {string} host @param {number} port */
const endpoints = (host, port) => [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: host, port_value: port } } } }] }]

/** @typedef {any} Json what a YAML file holds */

/** @param {Json} envoy @param {string} name */
const cluster = (envoy, name) => envoy.static_resources.clusters.find((/** @type {Json} */ one) => one.name === name)

/** Everything in plaintext, and Postern beside Envoy on unix sockets. @param {Json} envoy */
function plain(envoy) {
  const [edge] = envoy.static_resources.listeners
  edge.address.socket_address.port_value = 10000
  const [chain] = edge.filter_chains
  delete chain.transport_socket
  delete chain.transport_socket_connect_timeout
  const manager = chain.filters[0].typed_config
  // No pages in browsers here.
  manager.http_filters = manager.http_filters.filter((/** @type {Json} */ { name }) => name !== 'envoy.filters.http.cors')
  const [host] = manager.route_config.virtual_hosts
  delete host.typed_per_filter_config
  // An answer of Envoy's own: whether it runs.
  host.routes.find((/** @type {Json} */ { match }) => match.path === '/healthz').direct_response = {
    status: 200,
    body: { inline_string: 'ok\n' },
  }
  delete host.routes.find((/** @type {Json} */ { match }) => match.path === '/healthz').route
  users(envoy, 'http://localhost:8080/realms/agentcube', 'http://keycloak:8080/realms/agentcube')
  const jwks = cluster(envoy, 'users_jwks')
  delete jwks.transport_socket
  jwks.load_assignment.endpoints = endpoints('keycloak', 8080)
  for (const [name, at, port] of /** @type {const} */ ([
    ['workloadmanager', 'workloadmanager', 8081],
    ['sandbox', 'picod', 8082],
  ]))
    cluster(envoy, name).load_assignment.endpoints = endpoints(at, port)
  envoy.static_resources.listeners.push(keysListener)
  envoy.static_resources.clusters.push(issuerCluster)
  return envoy
}

/** @param {Json} envoy @param {string} issuer @param {string} inside where Envoy reaches it */
function users(envoy, issuer, inside) {
  const filters = envoy.static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters
  const provider = filters.find((/** @type {Json} */ { name }) => name.endsWith('jwt_authn')).typed_config.providers.users
  provider.issuer = issuer
  provider.remote_jwks.http_uri.uri = `${inside}/protocol/openid-connect/certs`
}

/** For the upstreams, in the stack's own network: the keys of Postern's issuer, which listens on a unix socket. */
const keysListener = {
  name: 'keys',
  address: { socket_address: { address: '0.0.0.0', port_value: 10001 } },
  filter_chains: [
    {
      filters: [
        {
          name: 'envoy.filters.network.http_connection_manager',
          typed_config: {
            '@type': 'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
            stat_prefix: 'keys',
            http_filters: [
              {
                name: 'envoy.filters.http.router',
                typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
              },
            ],
            route_config: {
              virtual_hosts: [{ name: 'keys', domains: ['*'], routes: [{ match: { path: '/jwks.json' }, route: { cluster: 'issuer' } }] }],
            },
          },
        },
      ],
    },
  ],
}
const issuerCluster = {
  name: 'issuer',
  type: 'STATIC',
  connect_timeout: '0.25s',
  load_assignment: {
    cluster_name: 'issuer',
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: '/run/postern/issuer.sock' } } } }] }],
  },
}

/** @param {string} host */
const serverTls = (host) => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    '@type': upstreamTls,
    sni: host,
    common_tls_context: {
      tls_params: modern,
      validation_context: {
        trusted_ca: { filename: files.ca },
        match_typed_subject_alt_names: [{ san_type: 'DNS', matcher: { exact: host } }],
      },
    },
  },
})

/** TLS where clients, Keycloak and the issuer are asked. @param {Json} envoy */
function tls(envoy) {
  const [edge] = envoy.static_resources.listeners
  edge.filter_chains[0].transport_socket_connect_timeout = '10s'
  edge.filter_chains[0].transport_socket = {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
      common_tls_context: {
        alpn_protocols: ['h2', 'http/1.1'],
        tls_params: { tls_minimum_protocol_version: 'TLSv1_2' },
        tls_certificates: ownFiles,
      },
    },
  }
  users(envoy, 'https://localhost:8443/realms/agentcube', 'https://keycloak:8443/realms/agentcube')
  const jwks = cluster(envoy, 'users_jwks')
  jwks.load_assignment.endpoints = endpoints('keycloak', 8443)
  jwks.transport_socket = serverTls('keycloak')
  // Upstreams ask Postern's issuer themselves, over TLS.
  envoy.static_resources.listeners = envoy.static_resources.listeners.filter((/** @type {Json} */ { name }) => name !== 'keys')
  envoy.static_resources.clusters = envoy.static_resources.clusters.filter((/** @type {Json} */ { name }) => name !== 'issuer')
  return envoy
}

/** Where Envoy shows who it is, and looks who answers. @param {string} name @param {boolean} h2 */
const workloadTls = (name, h2) => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    '@type': upstreamTls,
    sni: name,
    common_tls_context: {
      ...(h2 && { alpn_protocols: ['h2'] }),
      tls_params: modern,
      tls_certificates: ownFiles,
      validation_context: {
        trusted_ca: { filename: files.ca },
        match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: spiffe(name) } }],
      },
    },
  },
})

/** Certificates of both sides between all parts; Postern by TCP. @param {Json} envoy */
function mtls(envoy) {
  const context = envoy.static_resources.listeners[0].filter_chains[0].transport_socket.typed_config
  // Asked for and not demanded: people come with JWTs.
  context.require_client_certificate = false
  context.common_tls_context.validation_context = { trusted_ca: { filename: files.ca } }
  for (const [name, port] of /** @type {const} */ ([
    ['postern', 9191],
    ['postern_ext_proc', 9194],
  ])) {
    const one = cluster(envoy, name)
    one.type = 'STRICT_DNS'
    one.load_assignment.endpoints = endpoints('postern', port)
    one.transport_socket = workloadTls('postern', true)
    // As in envoy/tcp-mtls.yaml: a connection ends when certificates are renewed, and by default three calls at a time are made again.
    one.circuit_breakers = { thresholds: [{ ...one.circuit_breakers?.thresholds[0], max_retries: 1024 }] }
  }
  cluster(envoy, 'workloadmanager').transport_socket = workloadTls('workloadmanager', false)
  cluster(envoy, 'sandbox').transport_socket = workloadTls('picod', false)
  return envoy
}

/** Certificates of the workloads from a SPIRE agent; the edge's own stays a file, since it has a name of DNS. @param {Json} envoy */
function spire(envoy) {
  const secret = (/** @type {string} */ name) => ({
    name,
    sds_config: {
      resource_api_version: 'V3',
      api_config_source: {
        api_type: 'GRPC',
        transport_api_version: 'V3',
        grpc_services: [{ envoy_grpc: { cluster_name: 'spire_agent' } }],
      },
    },
  })
  for (const one of envoy.static_resources.clusters) {
    const context = one.transport_socket?.typed_config.common_tls_context
    if (context?.tls_certificates === undefined) continue
    delete context.tls_certificates
    context.tls_certificate_sds_secret_configs = [secret(spiffe('router'))]
    const { match_typed_subject_alt_names } = context.validation_context
    delete context.validation_context
    context.combined_validation_context = {
      default_validation_context: { match_typed_subject_alt_names },
      validation_context_sds_secret_config: secret('spiffe://cluster.local'),
    }
  }
  envoy.static_resources.clusters.push({
    name: 'spire_agent',
    type: 'STATIC',
    connect_timeout: '0.25s',
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    load_assignment: {
      cluster_name: 'spire_agent',
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: '/run/spire/agent-sockets/spire-agent.sock' } } } }] }],
    },
  })
  return envoy
}

/** @param {Json} policy */
function policyTls(policy) {
  const certificate = { cert: '/etc/postern/tls/tls.crt', key: '/etc/postern/tls/tls.key' }
  policy.listen.issuer = { address: '0.0.0.0:9193', url: 'https://postern:9193', tls: { mode: 'tls', ...certificate } }
  policy.state = {
    redis: {
      url: 'rediss://redis:6379/0',
      username: 'postern',
      password: `\${env:REDIS_PASSWORD}`,
      tls: { ca: '/etc/postern/tls/ca.crt' },
    },
  }
  policy.identity[0].issuer = 'https://localhost:8443/realms/agentcube'
  return policy
}

/** @param {Json} policy @param {Record<string, string>} certificate */
function policyMtls(policy, certificate) {
  const fromEnvoy = { mode: 'mtls', ...certificate, allow: [spiffe('router')] }
  policy.listen.check = { address: '0.0.0.0:9191', tls: fromEnvoy }
  policy.listen.ext_proc = { address: '0.0.0.0:9194', tls: fromEnvoy }
  // A program with a certificate of its own needs no JWT.
  policy.identity.push({
    name: 'workloads',
    type: 'mtls',
    trust_domain: 'cluster.local',
    roles: { [spiffe('researcher')]: ['sandbox:manage'] },
    subject_namespace: 'workload:',
  })
  return policy
}

/** @returns {Record<string, string>} text by path from the checkout */
export function composeFiles() {
  const envoy = () => parse(readFileSync(join(checkout, 'envoy/capture.yaml'), 'utf8'))
  const policy = () => parse(readFileSync(join(checkout, 'deploy/docker/postern.yaml'), 'utf8'))
  const pem = { cert: '/etc/postern/tls/tls.crt', key: '/etc/postern/tls/tls.key', ca: '/etc/postern/tls/ca.crt' }
  const svid = { cert: '/run/spire/certs/svid.pem', key: '/run/spire/certs/svid_key.pem', ca: '/run/spire/certs/svid_bundle.pem' }
  const told = '# Made by deploy/compose/files.mjs, from '
  const write = (/** @type {string} */ from, /** @type {Json} */ value) =>
    `${told}${from}: change that.\n${stringify(value, { aliasDuplicateObjects: false, lineWidth: 0 })}`
  const fromEnvoy = (/** @type {Json} */ value) => write('envoy/capture.yaml, where each setting is explained', value)
  const fromPolicy = (/** @type {Json} */ value) => write('deploy/docker/postern.yaml', value)
  return {
    'deploy/docker/envoy.yaml': fromEnvoy(plain(envoy())),
    'deploy/compose/tls/envoy.yaml': fromEnvoy(tls(plain(envoy()))),
    'deploy/compose/mtls/envoy.yaml': fromEnvoy(mtls(tls(plain(envoy())))),
    'deploy/compose/spire/envoy.yaml': fromEnvoy(spire(mtls(tls(plain(envoy()))))),
    'deploy/compose/tls/postern.yaml': fromPolicy(policyTls(policy())),
    'deploy/compose/mtls/postern.yaml': fromPolicy(policyMtls(policyTls(policy()), pem)),
    'deploy/compose/spire/postern.yaml': fromPolicy(policyMtls(policyTls(policy()), svid)),
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of Object.entries(composeFiles())) {
    mkdirSync(dirname(join(checkout, path)), { recursive: true })
    writeFileSync(join(checkout, path), text)
  }
}
