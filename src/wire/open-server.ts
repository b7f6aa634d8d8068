import type { Server, Socket } from 'node:net'
import type { SecureContextOptions, TlsOptions } from 'node:tls'
import { type CertificateSet, losesAuthority } from '../core/certificates.ts'
import { bind } from './bind.ts'
import { formatListenAddress, type ListenAddress, type Listener } from './listener.ts'
import { followSockets, type SocketSource, takeSockets } from './open-sockets.ts'
import { followPeers, type PeerTimes } from './peers.ts'

/** A server over TLS, whose certificates may be replaced while it listens. */
type SecureServer = Server & { readonly setSecureContext: (options: SecureContextOptions) => void }

export interface OpenServerOptions<Plain extends Server, Secure extends SecureServer> {
  readonly listener: Listener
  /** Makes the server of `tls.mode: none`. */
  readonly plain: () => Plain
  /** Makes that of the other modes, with the certificates and what they demand of clients. */
  readonly secure: (options: TlsOptions) => Secure
  /** Told of failed handshakes and errors of the server itself; never a credential. */
  readonly onFault: (detail: string) => void
  /** Whether connections are admitted or refused as a whole, by `allow`: then a change of the list ends those that it concerns. */
  readonly byConnection: boolean
  /** Ends a connection in order; see `followPeers`. */
  readonly retire?: ((socket: Socket, graceMs: number) => void) | undefined
  readonly peerTimes?: Partial<PeerTimes> | undefined
  /** Where connections come from, when another process listens: nothing is bound then. */
  readonly sockets?: SocketSource | undefined
}

/** A server that takes connections, with certificates that are renewed by themselves. */
export interface OpenServer<S extends Server> {
  readonly server: S
  /** With the port that the system chose. */
  readonly address: ListenAddress
  /** Takes no more connections. Resolves when the last one is closed. */
  readonly stop: () => Promise<void>
  /** Destroys all connections, those whose handshake has not ended too. */
  readonly cut: () => void
  /** Takes no more new certificates, and looks over connections no more. */
  readonly stopWatching: () => void
}

const handshakeTimeoutMs = 10_000

/**
 * Makes the server that a listener asks for, and binds it.
 * @throws {ListenFault} where its address cannot be had; {CertificateFault} where it has no certificates
 */
export async function openServer<Plain extends Server, Secure extends SecureServer>(
  options: OpenServerOptions<Plain, Secure>,
): Promise<OpenServer<Plain | Secure>> {
  const { listener, onFault, sockets } = options
  const { server, stopWatching } = serverOf(options)
  const { cut, allClosed } = followSockets(server)
  try {
    const address = sockets ? sockets.address : await bind(server, listener.address)
    server.on('error', (cause) => onFault(`${formatListenAddress(address)}: ${cause.message}`))
    const leave = sockets && takeSockets(server, sockets)
    const stop = (): Promise<void> => {
      if (!leave) return new Promise((resolve) => server.close(() => resolve()))
      leave()
      return allClosed()
    }
    return { server, address, stop, cut, stopWatching }
  } catch (cause) {
    stopWatching()
    throw cause
  }
}

function serverOf<Plain extends Server, Secure extends SecureServer>(options: OpenServerOptions<Plain, Secure>) {
  const { plain, secure, onFault, byConnection, retire, peerTimes } = options
  const { tls } = options.listener
  if (tls.mode === 'none') return { server: plain(), stopWatching: () => {} }
  const { certificates } = tls
  const server = secure({
    ...contextOf(certificates.current()),
    requestCert: tls.mode === 'mtls',
    rejectUnauthorized: true,
    handshakeTimeout: handshakeTimeoutMs,
  })
  server.on('tlsClientError', (cause: Error) => onFault(`a TLS handshake failed: ${cause.message}`))
  const peers =
    tls.mode === 'mtls'
      ? followPeers(server, { allow: byConnection ? tls.allow : undefined, retire, onFault, times: peerTimes })
      : undefined
  const unsubscribe = certificates.subscribe((next, before) => {
    server.setSecureContext(contextOf(next))
    if (peers && before && losesAuthority(next, before)) peers.verifyAnew()
  })
  const stopWatching = (): void => {
    unsubscribe()
    peers?.end()
  }
  return { server, stopWatching }
}

const contextOf = ({ cert, key, ca }: CertificateSet): SecureContextOptions => ({
  ...(cert !== undefined && { cert }),
  ...(key !== undefined && { key }),
  ...(ca !== undefined && { ca }),
  minVersion: 'TLSv1.2',
})
