import { TLSSocket } from 'node:tls'
import { certificateSpiffeId } from '../core/spiffe.ts'
import type { Listener } from './listener.ts'

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

/**
 * Whether the peer of a connection may ask here: anyone, unless `tls.mode: mtls` names those who may.
 * @param onFault told of one that may not
 * @param name of the listener in the policy file, for the sentence
 */
export function isAllowedPeer(socket: unknown, { tls }: Listener, onFault: (detail: string) => void, name = 'check'): boolean {
  if (tls.mode !== 'mtls') return true
  const peer = peerSpiffeId(socket)
  if (peer !== undefined && tls.allow.has(peer)) return true
  onFault(`${peer ?? 'a peer without SPIFFE ID'} is not on the list of listen.${name}.tls.allow`)
  return false
}
