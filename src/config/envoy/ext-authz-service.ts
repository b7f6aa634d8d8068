import { type Context, judged } from './context.ts'
import { isType, typedOf } from './model.ts'
import type { PolicyListener } from './policy-facts.ts'
import type { Setting } from './setting.ts'
import { endpointsOf, isAt, isNear, tlsOf, verifies } from './upstreams.ts'

/**
 * Checks the way by which Postern is asked (`envoy.config.core.v3.GrpcService`).
 * @param listener where the policy says that it is; nothing is compared where there is none
 */
export function lintService(service: Setting, context: Context, listener: PolicyListener | undefined = context.policy?.check): void {
  const google = service.at('google_grpc')
  if (google.present) {
    lintGoogleGrpc(google, context)
    return
  }
  const name = service.at('envoy_grpc', 'cluster_name')
  if (!judged(context, name)) return
  const cluster = context.resources.clusters.get(name.text ?? '')
  if (!cluster) {
    context.findings.unchecked(`the cluster "${name.shown}" that Postern is asked by is in no file: how it is reached was not checked`)
    return
  }
  lintCluster(cluster, listener, context)
}

function lintCluster(cluster: Setting, listener: PolicyListener | undefined, context: Context): void {
  const { findings } = context
  const endpoints = endpointsOf(cluster, context.resources)
  if (!endpoints) {
    const name = cluster.at('name').shown
    findings.unchecked(`the endpoints of "${name}" come by EDS and are in no file: give a dump with them (/config_dump?include_eds)`)
    return
  }
  const tls = tlsOf(cluster)
  const socket = cluster.at('transport_socket')
  const far = endpoints.filter((endpoint) => !isNear(endpoint))
  const [first] = far
  if (first && !tls)
    findings.tell(
      'check-plaintext',
      first.at,
      `Postern is asked at ${first.text} without TLS`,
      'a unix socket beside Envoy (pipe: { path: /run/postern/check.sock }), or a transport_socket with TLS, as envoy/tcp-mtls.yaml has it',
    )
  else if (first && tls && !verifies(tls, context.resources))
    findings.tell(
      'check-unverified',
      socket,
      `the certificate that Postern shows at ${first.text} is not compared with its name`,
      'validation_context with trusted_ca, and match_typed_subject_alt_names with the SPIFFE ID of Postern',
    )
  if (!speaksHttp2(cluster))
    findings.tell(
      'check-http2',
      cluster.at('name'),
      `the cluster "${cluster.at('name').shown}" does not say http2_protocol_options`,
      'explicit_http_config: { http2_protocol_options: {} } in HttpProtocolOptions',
    )
  if (!listener || endpoints.length === 0) return
  const { address } = listener
  const same = endpoints.some((endpoint) => isAt(endpoint, address))
  const listens = address.kind === 'unix' ? `unix:${address.path}` : `${address.host}:${address.port}`
  const [asked] = endpoints
  if (!same && asked)
    findings.tell(
      'policy-check-address',
      asked.at,
      `Envoy asks at ${asked.text}, and listen.${listener.name}.address of the policy is ${listens}`,
      'the same address in both',
    )
  else if ((listener.tls !== 'none') !== (tls !== undefined))
    findings.tell(
      'policy-check-tls',
      socket,
      `listen.${listener.name}.tls.mode of the policy is ${listener.tls}, and the cluster ${tls ? 'speaks' : 'does not speak'} TLS`,
      'TLS in both, or in neither',
    )
}

function lintGoogleGrpc(google: Setting, { findings }: Context): void {
  const target = google.at('target_uri')
  const near = /^(?:unix:|(?:dns:\/*|ipv4:|ipv6:)?(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])[:/]?)/.test(target.text ?? '')
  if (!near && !google.at('channel_credentials', 'ssl_credentials').present)
    findings.tell(
      'check-plaintext',
      target,
      `Postern is asked at ${target.shown} without TLS`,
      'channel_credentials with ssl_credentials, or a unix socket beside Envoy',
    )
}

/** Envoy speaks HTTP/1.1 to a cluster that says nothing. */
function speaksHttp2(cluster: Setting): boolean {
  if (cluster.at('http2_protocol_options').present) return true
  return cluster.at('typed_extension_protocol_options').members.some(([, any]) => {
    const { type, config } = typedOf(any)
    if (!isType(type, 'HttpProtocolOptions')) return false
    const explicit = config.at('explicit_http_config')
    const spoken = explicit.at('http2_protocol_options').present || explicit.at('http3_protocol_options').present
    return spoken || config.at('auto_config').present || config.at('use_downstream_protocol_config', 'http2_protocol_options').present
  })
}
