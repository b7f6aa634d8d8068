import { job } from './policy.ts'

export interface EnvoyOptions {
  /** Port of 127.0.0.1 for clients. */
  readonly port: number
  /** Path of a unix socket for the admin interface: reachable from any network namespace. */
  readonly admin: string
  /** How the caller's claims come into the metadata that the authorizer is asked with. */
  readonly caller: Caller
  /** `unix:/path` or `host:port` of the authorizer; absent: no authorization call. */
  readonly authorizer?: string
  /** Files for mTLS to the authorizer. */
  readonly mtls?: { readonly cert: string; readonly key: string; readonly ca: string }
}

/**
 * `jwks`: jwt_authn verifies a token with this key set, and keeps the result. `payload`: these claims stand where jwt_authn
 * would leave them, so that its own cost, which is the same before every authorizer, does not dilute what is compared.
 */
export type Caller = { readonly jwks: string } | { readonly payload: object }

const type = (name: string) => ({ '@type': `type.googleapis.com/envoy.${name}` })

/**
 * The Envoy that every authorizer is measured through: it knows the caller, asks the authorizer, and answers by itself.
 */
export function envoyConfig({ port, admin, caller, authorizer, mtls }: EnvoyOptions): object {
  const filters = [
    'jwks' in caller ? jwtAuthn(caller.jwks) : setMetadata(caller.payload),
    ...(authorizer === undefined ? [] : [extAuthz]),
    router,
  ]
  const manager = {
    ...type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'edge',
    normalize_path: true,
    merge_slashes: true,
    use_remote_address: true,
    http_filters: filters,
    route_config: {
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] }],
    },
  }
  const chain = { filters: [{ name: 'http', typed_config: manager }] }
  return {
    admin: { address: { pipe: { path: admin } } },
    static_resources: {
      listeners: [{ name: 'edge', address: { socket_address: { address: '127.0.0.1', port_value: port } }, filter_chains: [chain] }],
      clusters: authorizer === undefined ? [] : [cluster(authorizer, mtls)],
    },
  }
}

const jwtAuthn = (jwks: string) => ({
  name: 'envoy.filters.http.jwt_authn',
  typed_config: {
    ...type('extensions.filters.http.jwt_authn.v3.JwtAuthentication'),
    providers: {
      users: {
        issuer: job.issuer,
        audiences: [job.audience],
        payload_in_metadata: job.metadataKey,
        local_jwks: { inline_string: jwks },
        jwt_cache_config: { jwt_cache_size: 100 },
      },
    },
    rules: [{ match: { prefix: '/' }, requires: { provider_name: 'users' } }],
  },
})

const setMetadata = (payload: object) => ({
  name: 'envoy.filters.http.set_metadata',
  typed_config: {
    ...type('extensions.filters.http.set_metadata.v3.Config'),
    metadata: [{ metadata_namespace: 'envoy.filters.http.jwt_authn', value: { [job.metadataKey]: payload } }],
  },
})

const extAuthz = {
  name: 'envoy.filters.http.ext_authz',
  typed_config: {
    ...type('extensions.filters.http.ext_authz.v3.ExtAuthz'),
    transport_api_version: 'V3',
    grpc_service: { envoy_grpc: { cluster_name: 'authorizer' }, timeout: '1s' },
    failure_mode_allow: false,
    status_on_error: { code: 'ServiceUnavailable' },
    include_peer_certificate: true,
    metadata_context_namespaces: ['envoy.filters.http.jwt_authn'],
  },
}

const router = { name: 'envoy.filters.http.router', typed_config: type('extensions.filters.http.router.v3.Router') }

function cluster(authorizer: string, mtls: EnvoyOptions['mtls']): object {
  const protocol = 'extensions.upstreams.http.v3.HttpProtocolOptions'
  return {
    name: 'authorizer',
    type: 'STATIC',
    connect_timeout: '1s',
    typed_extension_protocol_options: {
      [`envoy.${protocol}`]: { ...type(protocol), explicit_http_config: { http2_protocol_options: {} } },
    },
    load_assignment: { cluster_name: 'authorizer', endpoints: [{ lb_endpoints: [{ endpoint: { address: addressOf(authorizer) } }] }] },
    ...(mtls === undefined ? {} : { transport_socket: tls(mtls) }),
  }
}

function addressOf(target: string): object {
  if (target.startsWith('unix:')) return { pipe: { path: target.slice('unix:'.length) } }
  const colon = target.lastIndexOf(':')
  return { socket_address: { address: target.slice(0, colon), port_value: Number(target.slice(colon + 1)) } }
}

const tls = ({ cert, key, ca }: NonNullable<EnvoyOptions['mtls']>) => ({
  name: 'envoy.transport_sockets.tls',
  typed_config: {
    ...type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
    sni: 'localhost',
    common_tls_context: {
      alpn_protocols: ['h2'],
      tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
      tls_certificates: [{ certificate_chain: { filename: cert }, private_key: { filename: key } }],
      validation_context: { trusted_ca: { filename: ca } },
    },
  },
})
