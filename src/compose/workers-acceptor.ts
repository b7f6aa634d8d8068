import { createServer, type Socket } from 'node:net'
import { bind } from '../wire/bind.ts'
import { bindFault, formatListenAddress, type ListenAddress, type Listener, ListenFault } from '../wire/listener.ts'

/** A listener whose connections are served elsewhere. */
export interface Acceptor {
  readonly address: ListenAddress
  /** Takes no more connections; those that were handed over stay. */
  readonly close: () => void
}

/**
 * Listens, and hands each connection on without reading from it: TLS is spoken by whoever serves it.
 * @throws {ListenFault} where the listener would be unsafe or cannot be had
 */
export async function openAcceptor(
  listener: Listener,
  take: (socket: Socket) => void,
  onFault: (detail: string) => void,
): Promise<Acceptor> {
  const unsafe = bindFault(listener)
  if (unsafe !== undefined) throw new ListenFault(unsafe)
  const server = createServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {})
    take(socket)
  })
  const address = await bind(server, listener.address)
  server.on('error', (cause) => onFault(`${formatListenAddress(address)}: ${cause.message}`))
  return { address, close: () => void server.close() }
}
