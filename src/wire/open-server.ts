import type { Server } from 'node:net'
import type { SecureContextOptions, TlsOptions } from 'node:tls'
import { bind } from './bind.ts'
import { readCertificates, watchCertificates } from './certificates.ts'
import { formatListenAddress, type ListenAddress, type Listener } from './listener.ts'
import { followSockets, type SocketSource, takeSockets } from './open-sockets.ts'

/** A server over TLS, whose certificates may be replaced while it listens. */
type SecureServer = Server & { readonly setSecureContext: (options: SecureContextOptions) => void }

export interface OpenServerOptions<Plain extends Server, Secure extends SecureServer> {
  readonly listener: Listener
  /** Makes the server of `tls.mode: none`. */
  readonly plain: () => Plain
  /** Makes that of the other modes, with the certificates and what they demand of clients. */
  readonly secure: (options: TlsOptions) => Secure
  /** Told of failed handshakes, certificates that do not load and errors of the server itself; never a credential. */
  readonly onFault: (detail: string) => void
  /** Milliseconds between looks at the certificate files; 10 s unless given. */
  readonly certificatesEveryMs?: number | undefined
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
  /** Ends the watch over the certificate files. */
  readonly stopWatching: () => void
}

const handshakeTimeoutMs = 10_000

/**
 * Makes the server that a listener asks for, and binds it.
 * @throws {ListenFault} where its certificates cannot be used, or its address cannot be had
 */
export async function openServer<Plain extends Server, Secure extends SecureServer>(
  options: OpenServerOptions<Plain, Secure>,
): Promise<OpenServer<Plain | Secure>> {
  const { listener, onFault, sockets } = options
  const { server, stopWatching } = await serverOf(options)
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

async function serverOf<Plain extends Server, Secure extends SecureServer>(options: OpenServerOptions<Plain, Secure>) {
  const { plain, secure, onFault, certificatesEveryMs } = options
  const { tls } = options.listener
  if (tls.mode === 'none') return { server: plain(), stopWatching: () => {} }
  const certificates = await readCertificates(tls)
  const server = secure({
    ...certificates,
    requestCert: tls.mode === 'mtls',
    rejectUnauthorized: true,
    handshakeTimeout: handshakeTimeoutMs,
  })
  server.on('tlsClientError', (cause: Error) => onFault(`a TLS handshake failed: ${cause.message}`))
  const apply = (next: typeof certificates): void => server.setSecureContext(next)
  return { server, stopWatching: watchCertificates(tls, certificates, apply, onFault, certificatesEveryMs) }
}
