import type { X509Certificate } from 'node:crypto'
import type { Server, Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { AllowList } from '../core/allow-list.ts'
import { peerSpiffeId } from './peer.ts'

/** Milliseconds. */
export interface PeerTimes {
  /** Between looks over the open connections. */
  readonly lookMs: number
  /** A connection is ended in order this long before the peer's certificate expires, or a tenth of its life before, if that is shorter. */
  readonly aheadMs: number
  /** What a connection that is ended in order may still take. */
  readonly graceMs: number
}

const usualTimes: PeerTimes = { lookMs: 1000, aheadMs: 30_000, graceMs: 5000 }

/** Connections whose peers have shown a certificate. */
export interface Peers {
  /** Ends all connections in order: whoever comes again is verified anew. */
  readonly verifyAnew: () => void
  readonly end: () => void
}

export interface PeersOptions {
  /** Its connections are cut where what the list says of their peer has changed; undefined: requests are judged one by one. */
  readonly allow: AllowList | undefined
  /**
   * Has the peer of a connection ask on another one, and lets calls in flight end. Absent: the connection is closed.
   * @param graceMs milliseconds after which it is cut
   */
  readonly retire?: ((socket: Socket, graceMs: number) => void) | undefined
  readonly onFault: (detail: string) => void
  readonly times?: Partial<PeerTimes> | undefined
}

interface Peer {
  readonly id: string | undefined
  allowed: boolean
  /** Milliseconds since the epoch. */
  readonly retireAt: number
  readonly expiresAt: number
  /** That of the end, where it has been retired; performance.now(). */
  cutAt: number
  retired: boolean
}

/**
 * Follows the connections of a server that demands certificates of its clients. A certificate is verified once, in the handshake,
 * and a connection may outlive what it said then: so it ends with the certificate of its peer, and when an authority was taken
 * away, or the peer from the list.
 */
export function followPeers(server: Server, { allow, retire, onFault, times }: PeersOptions): Peers {
  const { lookMs, aheadMs, graceMs } = { ...usualTimes, ...times }
  const open = new Map<TLSSocket, Peer>()
  const isAllowed = (id: string | undefined): boolean => allow === undefined || (id !== undefined && allow.has(id))

  // Before whatever serves the connection.
  server.prependListener('secureConnection', (socket: TLSSocket) => {
    const certificate = socket.getPeerX509Certificate()
    const now = Date.now()
    const life = certificate && lifeOf(certificate)
    // A session that is resumed (RFC 8446, section 2.2) is not verified again.
    if (!life || now >= life.to) {
      onFault(certificate ? 'a session was resumed with a client certificate that has expired' : 'a peer without certificate')
      socket.destroy()
      return
    }
    const id = peerSpiffeId(socket)
    const retireAt = life.to - Math.min(aheadMs, (life.to - life.from) / 10)
    // One that begins when it would be ended in order is cut at the end: else its peer would come again and again.
    open.set(socket, {
      id,
      allowed: isAllowed(id),
      retireAt: now < retireAt ? retireAt : life.to,
      expiresAt: life.to,
      cutAt: Infinity,
      retired: false,
    })
    socket.once('close', () => open.delete(socket))
  })

  const leave = (socket: TLSSocket, peer: Peer): void => {
    if (peer.retired) return
    peer.retired = true
    peer.cutAt = performance.now() + graceMs
    if (retire) retire(socket, graceMs)
    else socket.destroy()
  }
  const look = (): void => {
    const now = Date.now()
    for (const [socket, peer] of open) {
      if (now >= peer.expiresAt || performance.now() >= peer.cutAt) socket.destroy()
      else if (now >= peer.retireAt) leave(socket, peer)
    }
  }
  const timer = setInterval(look, lookMs).unref()
  const unsubscribe = allow?.subscribe(() => {
    for (const [socket, peer] of open) {
      if (peer.allowed === isAllowed(peer.id)) continue
      // Refused or served so far, as a whole: on its next connection it is the other.
      socket.destroy()
    }
  })
  return {
    verifyAnew: () => {
      for (const [socket, peer] of open) leave(socket, peer)
    },
    end: () => {
      clearInterval(timer)
      unsubscribe?.()
    },
  }
}

const lifeOf = ({ validFromDate, validToDate }: X509Certificate) => ({ from: validFromDate.getTime(), to: validToDate.getTime() })
