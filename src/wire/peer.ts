import { TLSSocket } from 'node:tls'
import { parseSpiffeId } from '../core/spiffe.ts'

// One entry of the text that Node makes of subjectAltName: values with a comma or quotes come as JSON strings.
const entry = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^",]*)(?:, |$)/y

/**
 * The SPIFFE ID in a certificate (X509-SVID, section 2: exactly one URI SAN).
 * @param subjectAltName as X509Certificate of node:crypto gives it
 */
export function spiffeIdOf(subjectAltName: string | undefined): string | undefined {
  if (!subjectAltName) return undefined
  let uri: string | undefined
  entry.lastIndex = 0
  for (let at = 0; at < subjectAltName.length; at = entry.lastIndex) {
    const found = entry.exec(subjectAltName)
    if (!found) return undefined
    if (found[1] !== 'URI') continue
    if (uri !== undefined) return undefined
    uri = found[2] ?? ''
  }
  return uri === undefined ? undefined : parseSpiffeId(uri)?.id
}

const known = new WeakMap<object, { readonly id: string | undefined }>()

/** The SPIFFE ID of the peer, where its certificate was verified; looked at once a connection. */
export function peerSpiffeId(socket: unknown): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  const before = known.get(socket)
  if (before) return before.id
  const id = socket.authorized ? spiffeIdOf(socket.getPeerX509Certificate()?.subjectAltName) : undefined
  known.set(socket, { id })
  return id
}
