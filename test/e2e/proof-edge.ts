import { generateKeyPairSync, hash, type KeyObject, randomUUID } from 'node:crypto'
import { exportJWK, SignJWT } from 'jose'
import { parse } from 'yaml'
import { type Certificates, testCertificates } from '../support/certificates.ts'
import { envoyFile, type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import type { ClientTls } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** The `iss` that the files in envoy/ name: its tokens are verified by Envoy. */
const usersIssuer = 'https://keycloak.example/realms/default'

/**
 * Listeners of one Envoy: `edge` as shipped in envoy.yaml, `replica` the same asking another Postern, `untrusted` the same with
 * ACCEPT_UNTRUSTED, `silent` the same without include_peer_certificate, `balanced` as shipped in behind-load-balancer.yaml.
 */
export type ListenerName = 'edge' | 'replica' | 'untrusted' | 'silent' | 'balanced'

/** Two replicas of Postern on one Redis, and one Envoy in front of them. */
export interface ProofEdge {
  readonly port: (listener: ListenerName) => number
  readonly posterns: readonly RunningPostern[]
  readonly policy: (index: number, dpop?: string) => string
  readonly redis: RunningRedis
  /** Verified by Envoy. */
  readonly users: OidcIssuer
  /** Verified by Postern. */
  readonly partners: OidcIssuer
  readonly upstream: Upstream
  readonly certificates: Certificates
  readonly tls: (identity?: { readonly certPem: string; readonly keyPem: string }) => ClientTls
  readonly stop: () => Promise<void>
}

const policyOf = (socket: string, redis: string, partners: string, dpop: string): string => `
version: 1
listen: { check: { address: "unix:${socket}" } }
state: ${redis}
dpop: ${dpop}
denials: { detail: true }
identity:
  - { name: users, type: oidc, issuer: "${usersIssuer}", audience: agentcube-router, verified_by: envoy, metadata_key: users, forward: true }
  - name: partners
    type: oidc
    issuer: "${partners}"
    audience: partners
    verified_by: postern
    from: [authorization, "cookie:session", query, websocket]
  - { name: workloads, type: mtls, trust_domain: cluster.local }
routes:
  - { id: any, methods: [GET, POST], path: "/v1/sandboxes/any/**" }
  - { id: mtls, methods: [GET], path: /v1/sandboxes/mtls, binding: mtls }
  - { id: dpop, methods: [GET], path: /v1/sandboxes/dpop, binding: dpop }
`

type Config = Record<string, unknown>
interface Listener extends Config {
  name: string
  filter_chains: { transport_socket?: { typed_config: Config }; filters: { typed_config: Config }[] }[]
}
interface Bootstrap {
  static_resources: { listeners: Listener[]; clusters: Config[] }
}

/** Its HTTP filter of a name. */
function filterOf(listener: Listener, name: string): Config {
  const filters = listener.filter_chains[0]!.filters[0]!.typed_config['http_filters'] as { name: string; typed_config: Config }[]
  return filters.find((filter) => filter.name === `envoy.filters.http.${name}`)!.typed_config
}

/** As docs/guides/sender-constrained.md says: jwt_authn finds the token under both schemes. */
function bothSchemes(listener: Listener): void {
  const { users } = filterOf(listener, 'jwt_authn')['providers'] as Record<string, Config>
  users!['from_headers'] = ['Bearer ', 'DPoP '].map((prefix) => ({ name: 'Authorization', value_prefix: prefix }))
}

function bootstrap(replacements: Readonly<Record<string, string>>, sockets: readonly string[]): Bootstrap {
  const { '/etc/envoy/certs': folder = '', ...others } = replacements
  const config = parse(
    envoyFile('envoy.yaml', {
      ...others,
      '/etc/envoy/certs': folder,
      'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0',
    }),
  ) as Bootstrap
  const [edge] = config.static_resources.listeners
  const [balanced] = (
    parse(
      envoyFile('behind-load-balancer.yaml', { ...others, 'address: 0.0.0.0, port_value: 10080': 'address: 127.0.0.1, port_value: 0' }),
    ) as Bootstrap
  ).static_resources.listeners
  const copy = (name: ListenerName, change: (listener: Listener) => void): Listener => {
    const listener = { ...structuredClone(edge!), name }
    change(listener)
    return listener
  }
  const posternB = structuredClone(config.static_resources.clusters.find(({ name }) => name === 'postern')!)
  Object.assign(posternB, { name: 'postern-b' })
  const socketB = JSON.parse(JSON.stringify(posternB).replace(sockets[0]!, sockets[1]!)) as Config
  config.static_resources.clusters.push(socketB)
  config.static_resources.listeners = [
    copy('edge', () => {}),
    copy('replica', (listener) => {
      const service = filterOf(listener, 'ext_authz')['grpc_service'] as Config
      service['envoy_grpc'] = { cluster_name: 'postern-b' }
    }),
    copy('untrusted', (listener) => {
      const context = listener.filter_chains[0]!.transport_socket!.typed_config['common_tls_context'] as Config
      context['validation_context'] = { trust_chain_verification: 'ACCEPT_UNTRUSTED' }
    }),
    copy('silent', (listener) => {
      filterOf(listener, 'ext_authz')['include_peer_certificate'] = false
    }),
    { ...balanced!, name: 'balanced' },
  ]
  for (const listener of config.static_resources.listeners) bothSchemes(listener)
  return config
}

/** Starts it all. */
export async function startProofEdge(): Promise<ProofEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server', { dns: ['edge.example'] })
    const users = started(
      await startOidc({
        issuer: usersIssuer,
        jwksPath: '/realms/default/protocol/openid-connect/certs',
        tls: certificates.server('keycloak', { dns: ['keycloak.example'] }),
      }),
    )
    const partners = started(await startOidc({ algorithms: ['ES256'] }))
    const upstream = started(await startUpstream('sandbox'))
    const redis = started(await startRedis())
    const sockets = [folder.file('a.sock'), folder.file('b.sock')]
    const policy = (index: number, dpop = '{}') => policyOf(sockets[index]!, redis.url, partners.issuer, dpop)
    const posterns = [started(await startPostern(policy(0))), started(await startPostern(policy(1)))]
    const config = bootstrap(
      {
        'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
        'address: keycloak.example, port_value: 443': `address: 127.0.0.1, port_value: ${users.port}`,
        '/etc/ssl/certs/ca-certificates.crt': `${folder.path}/workloads-ca.crt`,
        '/run/postern/check.sock': sockets[0]!,
        'port_value: 8082': `port_value: ${upstream.port}`,
        '/etc/envoy/certs': folder.path,
      },
      sockets,
    )
    const envoy: RunningEnvoy = started(await startEnvoy(config))
    return {
      port: envoy.port,
      posterns,
      policy,
      redis,
      users,
      partners,
      upstream,
      certificates,
      tls: (identity) => ({ ca: certificates.caPem, ...(identity ? { cert: identity.certPem, key: identity.keyPem } : {}) }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** A client with a key of its own. */
export interface DpopClient {
  /** For `cnf` of its tokens (RFC 7638). */
  readonly jkt: string
  /** A proof for a token and a request, in which single members may be said otherwise. */
  readonly proof: (token: string, htm: string, htu: string, more?: Readonly<Record<string, unknown>>) => Promise<string>
}

/** @param keys of a kind that `alg` is for */
export async function dpopClient(
  keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  alg = 'ES256',
): Promise<DpopClient> {
  const jwk = await exportJWK(keys.publicKey)
  const members = ['crv', 'e', 'kty', 'n', 'x', 'y'].flatMap((name) => (name in jwk ? [[name, jwk[name as keyof typeof jwk]]] : []))
  return {
    jkt: hash('sha256', JSON.stringify(Object.fromEntries(members)), 'base64url'),
    proof: (token, htm, htu, more = {}) =>
      new SignJWT({ jti: randomUUID(), htm, htu, ath: hash('sha256', token, 'base64url'), iat: Math.floor(Date.now() / 1000), ...more })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk })
        .sign(keys.privateKey),
  }
}
