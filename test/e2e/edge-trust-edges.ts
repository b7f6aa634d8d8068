import { type Certificates, type Identity, testCertificates } from '../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { jwtAuthn, manager, sandboxEnvoy } from '../support/sandbox-envoy.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

/** The Envoy that verifies tokens and writes claim headers, and behind it the one that asks Postern. */
export interface TwoEdges {
  /** TLS; a client certificate is asked for, not demanded. */
  readonly gateway: RunningEnvoy
  /** TLS; whoever reaches it may show a certificate. */
  readonly inner: RunningEnvoy
  readonly postern: RunningPostern
  /** Issuer of the tokens that the gateway verifies. */
  readonly users: OidcIssuer
  readonly upstream: Upstream
  readonly certificates: Certificates
  /** Holds the certificate that the gateway shows to the inner one. */
  readonly asGateway: Identity
  readonly router: Identity
  readonly stop: () => Promise<void>
}

export const gatewayId = 'spiffe://cluster.local/ns/edge/sa/gateway'
export const routerId = 'spiffe://cluster.local/ns/agents/sa/router'

/** @param policy YAML; `@check@` and `@admin@` are filled in */
export async function startTwoEdges(policy: string): Promise<TwoEdges> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    const server = certificates.server('server')
    const asGateway = certificates.workload('gateway', gatewayId)
    const router = certificates.workload('router', routerId)
    const users = started(await startOidc({ issuer: 'https://users.example' }))
    const upstream = started(await startUpstream('upstream'))
    const [admin = 0] = await freePorts(1)
    const filled = policy.replace('@check@', `unix:${folder.file('check.sock')}`).replace('@admin@', `127.0.0.1:${admin}`)
    const postern = started(await startPostern(filled))
    const inner = started(await startEnvoy(innerConfig(folder.path, upstream.port)))
    const keys = await (await fetch(users.jwksUri)).text()
    const gateway = started(await startEnvoy(gatewayConfig({ ca: certificates.ca, server, asGateway, keys, inner: inner.port('edge') })))
    return { gateway, inner, postern, users, upstream, certificates, asGateway, router, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** envoy.yaml behind a gateway: it hands on what the gateway says of its client's certificate, and lets `_` in names through. */
function innerConfig(folder: string, upstream: number): string {
  const document = sandboxEnvoy(folder, upstream)
  document.setIn([...manager, 'forward_client_cert_details'], 'FORWARD_ONLY')
  document.setIn([...manager, 'common_http_protocol_options', 'headers_with_underscores_action'], 'ALLOW')
  document.deleteIn([...manager, 'http_filters', jwtAuthn(document)])
  document.setIn([...manager, 'route_config', 'virtual_hosts', 0, 'routes'], [{ match: { prefix: '/' }, route: { cluster: 'sandbox' } }])
  return String(document)
}

interface GatewayNeeds {
  readonly ca: string
  readonly server: Identity
  readonly asGateway: Identity
  /** JWKS. */
  readonly keys: string
  readonly inner: number
}

const type = (name: string): string => `type.googleapis.com/envoy.extensions.${name}`

/** As Istio lays it out: `outputClaimToHeaders` becomes `claim_to_headers` of jwt_authn. */
function gatewayConfig({ ca, server, asGateway, keys, inner }: GatewayNeeds): object {
  const provider = {
    issuer: 'https://users.example',
    audiences: ['edge'],
    require_expiration: true,
    local_jwks: { inline_string: keys },
    claim_to_headers: [
      { header_name: 'x-user-id', claim_name: 'sub' },
      { header_name: 'x-user-roles', claim_name: 'roles' },
      { header_name: 'x-user-email', claim_name: 'email' },
      { header_name: 'x-user-groups', claim_name: 'groups' },
    ],
  }
  const jwt = {
    '@type': type('filters.http.jwt_authn.v3.JwtAuthentication'),
    providers: { users: provider },
    rules: [{ match: { prefix: '/' }, requires: { requires_any: { requirements: [{ provider_name: 'users' }, { allow_missing: {} }] } } }],
  }
  const manager = {
    '@type': type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'gateway',
    use_remote_address: true,
    forward_client_cert_details: 'SANITIZE_SET',
    set_current_client_cert_details: { uri: true, subject: true },
    route_config: { virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'inner' } }] }] },
    http_filters: [
      { name: 'envoy.filters.http.jwt_authn', typed_config: jwt },
      { name: 'envoy.filters.http.router', typed_config: { '@type': type('filters.http.router.v3.Router') } },
    ],
  }
  const pair = ({ cert, key }: Identity) => [{ certificate_chain: { filename: cert }, private_key: { filename: key } }]
  const tls = (name: string, certificate: Identity, more: object) => ({
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': type(`transport_sockets.tls.v3.${name}`),
      common_tls_context: { tls_certificates: pair(certificate), validation_context: { trusted_ca: { filename: ca } } },
      ...more,
    },
  })
  const local = (port: number) => ({ socket_address: { address: '127.0.0.1', port_value: port } })
  return {
    admin: { address: local(0) },
    static_resources: {
      listeners: [
        {
          name: 'gateway',
          address: local(0),
          filter_chains: [
            {
              transport_socket: tls('DownstreamTlsContext', server, { require_client_certificate: false }),
              filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'inner',
          type: 'STATIC',
          load_assignment: { cluster_name: 'inner', endpoints: [{ lb_endpoints: [{ endpoint: { address: local(inner) } }] }] },
          transport_socket: tls('UpstreamTlsContext', asGateway, { sni: 'localhost' }),
        },
      ],
    },
  }
}
