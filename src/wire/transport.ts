import type { CheckHandler } from './check-handler.ts'
import type { ListenAddress, Listener } from './listener.ts'
import type { SocketSource } from './open-sockets.ts'
import type { PeerTimes } from './peers.ts'

/** The service that Envoy asks. */
export const authorizationService = 'envoy.service.auth.v3.Authorization'

/** What every transport of the check listener takes. */
export interface CheckServerOptions {
  readonly listener: Listener
  readonly handler: CheckHandler
  /** Bytes of a message above which the transport ends the call; `maxMessage` of the handler denies below that. */
  readonly maxReceive?: number
  /** Calls at once on one connection. */
  readonly maxStreams?: number
  /** Told of failed handshakes and refused peers; never a credential. */
  readonly onFault: (detail: string) => void
  /** For tests: what differs from the times of `followPeers`. */
  readonly peerTimes?: Partial<PeerTimes> | undefined
  /** Where connections come from, when another process listens: nothing is bound then. */
  readonly sockets?: SocketSource
}

/** A check listener that is up. Health says NOT_SERVING until `serving(true)`. */
export interface CheckServer {
  readonly address: ListenAddress
  readonly serving: (up: boolean) => void
  /**
   * Says NOT_SERVING, takes no more connections, sends GOAWAY and lets calls in flight end.
   * @param graceMs milliseconds after which what is left is cut
   */
  readonly close: (graceMs: number) => Promise<void>
}

/** A message over `check.max_message` is a denial; one that is larger still is not even read. Bytes. */
export const defaultMaxReceive = 4 * 1024 * 1024
/** More than Envoy's default circuit breaker lets through to a cluster. */
export const defaultMaxStreams = 1024

/** What a peer is told that is not on the list of `tls.allow`. */
export const refusedPeer = 'this workload may not ask here'

/**
 * Makes a check listener of its parts. It closes once, however often it is told to, and does not say SERVING afterwards.
 * @param close as in CheckServer
 */
export function checkServer(address: ListenAddress, serving: (up: boolean) => void, close: CheckServer['close']): CheckServer {
  let closing: Promise<void> | undefined
  return {
    address,
    serving: (up) => {
      if (!closing) serving(up)
    },
    close: (graceMs) => {
      closing ??= close(graceMs)
      return closing
    },
  }
}
