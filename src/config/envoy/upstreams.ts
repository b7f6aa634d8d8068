import { type Address, isLoopback } from '../schema-listen.ts'
import { type EnvoyResources, isType, typedOf } from './model.ts'
import type { Setting } from './setting.ts'

/** Where a cluster's requests go. */
export interface Endpoint {
  readonly at: Setting
  readonly text: string
  /** Of a unix socket. */
  readonly path: string | undefined
  readonly host: string | undefined
  readonly port: number | undefined
}

/** The endpoints of a cluster: its own, or those that came by EDS; undefined where these are in no file. */
export function endpointsOf(cluster: Setting, resources: EnvoyResources): Endpoint[] | undefined {
  const asked = cluster.at('eds_cluster_config', 'service_name').text ?? cluster.at('name').text ?? ''
  const byEds = cluster.at('type').text === 'EDS'
  const assignment = byEds ? resources.assignments.get(asked) : cluster.at('load_assignment')
  return assignment
    ?.at('endpoints')
    .items.flatMap((locality) => locality.at('lb_endpoints').items)
    .map((entry) => entry.at('endpoint', 'address'))
    .filter((address) => address.present)
    .map((address) => {
      const path = address.at('pipe', 'path').text
      const host = address.at('socket_address', 'address').text
      const port = address.at('socket_address', 'port_value').number
      const at = path === undefined ? address.at('socket_address', 'address') : address.at('pipe', 'path')
      return { at, text: path ?? `${host ?? '?'}:${port ?? '?'}`, path, host, port }
    })
}

/** Whether an endpoint is where a listener of Postern is bound. */
export const isAt = (endpoint: Endpoint, address: Address): boolean =>
  address.kind === 'unix' ? endpoint.path === address.path : endpoint.port === address.port && (!isLoopback(address) || isNear(endpoint))

/** Whether a GrpcService asks at an address; undefined where that is in no file. */
export function asksAt(service: Setting, address: Address, resources: EnvoyResources): boolean | undefined {
  const cluster = resources.clusters.get(service.at('envoy_grpc', 'cluster_name').text ?? '')
  return cluster && endpointsOf(cluster, resources)?.some((endpoint) => isAt(endpoint, address))
}

/** Whether only this machine can answer there. */
export const isNear = ({ path, host }: Endpoint): boolean => path !== undefined || isLoopbackHost(host)

/** Whether a host is this machine's own. */
export const isLoopbackHost = (host: string | undefined): boolean =>
  host !== undefined && /^(?:localhost|::1|127\.\d+\.\d+\.\d+)$/.test(host)

/** The `UpstreamTlsContext` of a cluster, where it speaks TLS. */
export function tlsOf(cluster: Setting): Setting | undefined {
  const sockets = [
    cluster.at('transport_socket'),
    ...cluster.at('transport_socket_matches').items.map((match) => match.at('transport_socket')),
  ]
  return sockets.map((socket) => typedOf(socket.at('typed_config'))).find(({ type }) => isType(type, 'UpstreamTlsContext'))?.config
}

/** The `CertificateValidationContext`s of a TLS context: its own, and those that come by SDS where they are known. */
export function validationsOf(tls: Setting, resources: EnvoyResources): { readonly found: readonly Setting[]; readonly unknown: boolean } {
  const common = tls.at('common_tls_context')
  const combined = common.at('combined_validation_context')
  const found = [common.at('validation_context'), combined.at('default_validation_context')]
  const secrets = [common.at('validation_context_sds_secret_config'), combined.at('validation_context_sds_secret_config')].filter(
    (one) => one.present,
  )
  const known = secrets.map((one) => resources.secrets.get(one.at('name').text ?? '')?.at('validation_context'))
  return {
    found: [...found, ...known].filter((one) => one?.present === true) as Setting[],
    unknown: known.some((one) => one === undefined),
  }
}

/** Whether the name in the server's certificate is compared, by an authority that is given. What comes by SDS and is unknown is believed. */
export function verifies(tls: Setting, resources: EnvoyResources): boolean {
  const { found, unknown } = validationsOf(tls, resources)
  if (unknown) return true
  const has = (name: string): boolean => found.some((one) => one.at(name).present)
  const pinned = has('verify_certificate_spki') || has('verify_certificate_hash') || has('custom_validator_config')
  const trusted = has('trusted_ca') || has('system_root_certs') || has('ca_certificate_provider_instance')
  const named = has('match_typed_subject_alt_names') || has('match_subject_alt_names') || tls.at('auto_sni_san_validation').on
  return pinned || (trusted && named)
}
