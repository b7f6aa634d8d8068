import type { TLSSocket } from 'node:tls'

// SPIFFE-ID, sections 2.1 to 2.3.
const spiffeId = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[a-zA-Z0-9._-]+)+$/
// A list of names as Node writes it; a value with a comma or a quote is a JSON string.
const name = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y

/** Whether a text is a SPIFFE ID of a workload, in the strict form. */
export const isSpiffeId = (text: string): boolean => text.length <= 2048 && spiffeId.test(text)

/**
 * The SPIFFE ID that the peer of a connection has proved (X509-SVID, section 2: the only URI name of its certificate).
 * @param socket `request.socket` of node:https or node:tls
 * @returns undefined without TLS, without a certificate that was verified, or where that names no workload or several
 */
export function peerSpiffeId(socket: unknown): string | undefined {
  // No `instanceof`: it would load TLS into a process that listens without.
  const { encrypted, authorized, getPeerX509Certificate } = (socket ?? {}) as Partial<TLSSocket>
  if (encrypted !== true || authorized !== true || typeof getPeerX509Certificate !== 'function') return undefined
  const names = (socket as TLSSocket).getPeerX509Certificate()?.subjectAltName
  if (!names) return undefined
  let found: string | undefined
  name.lastIndex = 0
  for (let at = 0; at < names.length; at = name.lastIndex) {
    const [whole, kind, value = ''] = name.exec(names) ?? []
    if (whole === undefined) return undefined
    if (kind !== 'URI') continue
    if (found !== undefined) return undefined
    found = value
  }
  return found !== undefined && isSpiffeId(found) ? found : undefined
}
