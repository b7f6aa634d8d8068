import type { Context } from './context.ts'
import type { Setting } from './setting.ts'
import { isLoopbackHost, validationsOf } from './upstreams.ts'

/** Checks Envoy's own admin interface. */
export function lintAdmin(admin: Setting, { findings }: Context): void {
  const address = admin.at('address', 'socket_address', 'address')
  if (address.present && !isLoopbackHost(address.text))
    findings.tell('admin-exposed', address, `the admin interface listens on ${address.shown}`, '127.0.0.1, or a pipe')
}

/** Whether only this machine reaches a listener. */
export function isLocalListener(listener: Setting): boolean {
  const address = listener.at('address')
  return (
    address.at('pipe').present ||
    address.at('envoy_internal_address').present ||
    isLoopbackHost(address.at('socket_address', 'address').text)
  )
}

/** Whether clients are asked for a certificate: Envoy asks where it has something to compare one with, and there alone. */
export function asksForCertificate(tls: Setting | undefined, { resources }: Context): boolean {
  if (!tls) return false
  const { found, unknown } = validationsOf(tls, resources)
  return found.length > 0 || unknown
}

/** Checks how a listener proves the certificates of clients (`DownstreamTlsContext`). */
export function lintClientCertificates(tls: Setting, context: Context): void {
  const { findings, resources } = context
  const { found, unknown } = validationsOf(tls, resources)
  for (const validation of found) {
    const chain = validation.at('trust_chain_verification')
    if (chain.shown === 'ACCEPT_UNTRUSTED' || chain.number === 1)
      findings.tell(
        'client-certificate-untrusted',
        chain,
        'client certificates of any authority are accepted',
        'leave trust_chain_verification out, and write trusted_ca with the authority of your workloads',
      )
    const expired = validation.at('allow_expired_certificate')
    if (expired.on)
      findings.tell(
        'client-certificate-expired',
        expired,
        'client certificates are accepted after their end',
        'allow_expired_certificate: false',
      )
  }
  const required = tls.at('require_client_certificate')
  const names = found.map((validation) => validation.at('match_typed_subject_alt_names')).find((one) => one.present)
  if (names && !required.on)
    findings.tell(
      'client-certificate-by-matcher',
      names,
      'require_client_certificate is false, and a name matcher is set',
      'require_client_certificate: true, or leave the matcher out: Postern checks names itself',
    )
  if (required.on && !unknown && !found.some(hasAuthority))
    findings.tell(
      'client-certificate-authority',
      required,
      'certificates are required, and no authority is named',
      'validation_context: { trusted_ca: … } with the authority of your workloads',
    )
  const oldest = tls.at('common_tls_context', 'tls_params', 'tls_minimum_protocol_version')
  if (oldest.text === 'TLSv1_0' || oldest.text === 'TLSv1_1')
    findings.tell('tls-version', oldest, `clients may use ${oldest.shown}`, 'tls_minimum_protocol_version: TLSv1_2')
}

const authorities = [
  'trusted_ca',
  'ca_certificate_provider_instance',
  'system_root_certs',
  'verify_certificate_spki',
  'verify_certificate_hash',
  'custom_validator_config',
]
const hasAuthority = (validation: Setting): boolean => authorities.some((name) => validation.at(name).present)
