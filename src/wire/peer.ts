import { TLSSocket } from 'node:tls'
import { certificateSpiffeId } from '../core/spiffe.ts'

const known = new WeakMap<object, { readonly id: string | undefined }>()

/** The SPIFFE ID of the peer, where its certificate was verified; looked at once a connection. */
export function peerSpiffeId(socket: unknown): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  const before = known.get(socket)
  if (before) return before.id
  const id = socket.authorized ? certificateSpiffeId(socket.getPeerX509Certificate()?.subjectAltName)?.id : undefined
  known.set(socket, { id })
  return id
}
