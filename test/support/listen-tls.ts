import { openCertificateLoader } from '../../src/adapters/certificate-files.ts'
import { allowList, type ChangingAllowList } from '../../src/core/allow-list.ts'
import type { CertificateLoader, CertificateSource } from '../../src/core/certificates.ts'
import type { ListenTls } from '../../src/wire/listener.ts'

/** Certificates that nobody asks for. */
export const noCertificates: CertificateSource = {
  current: () => {
    throw new Error('there are none')
  },
  subscribe: () => () => {},
  close: () => {},
}

/** TLS of a listener as the policy file has it. */
export type TlsFiles =
  | { readonly mode: 'none' }
  | { readonly mode: 'tls'; readonly cert: string; readonly key: string }
  | {
      readonly mode: 'mtls'
      readonly cert: string
      readonly key: string
      readonly ca: string
      readonly allow: readonly string[] | ChangingAllowList
    }

/**
 * The same as the wire takes it.
 * @param loader that of the test; absent: one that looks every `everyMs`
 * @throws {CertificateFault} where the files cannot be used
 */
export function listenTls(
  tls: TlsFiles,
  {
    everyMs = 10_000,
    loader,
    onFault,
  }: { everyMs?: number | undefined; loader?: CertificateLoader; onFault?: (detail: string) => void } = {},
): ListenTls {
  if (tls.mode === 'none') return tls
  const onEvent = (event: object): void => {
    if ('detail' in event) onFault?.(`certificates are not reloaded: ${event.detail}`)
  }
  const certificates = (loader ?? openCertificateLoader({ everyMs, settleMs: 10, shorterMs: 50, onEvent })).open('test', {
    cert: tls.cert,
    key: tls.key,
    ...(tls.mode === 'mtls' && { ca: tls.ca }),
  })
  certificates.current()
  if (tls.mode === 'tls') return { mode: 'tls', certificates }
  return { mode: 'mtls', certificates, allow: 'replace' in tls.allow ? tls.allow : allowList(tls.allow) }
}
