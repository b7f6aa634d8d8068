import type { Server, Socket } from 'node:net'
import type { ListenAddress } from './listener.ts'

/** Connections that another process accepts and hands to this one. */
export interface SocketSource {
  /** Where they were accepted. */
  readonly address: ListenAddress
  /** @returns a function after which none is taken any more */
  readonly subscribe: (take: (socket: Socket) => void) => () => void
}

/** The connections that a server holds. */
export interface OpenSockets {
  /** Destroys all of them, those whose handshake has not ended too. */
  readonly cut: () => void
  /** Resolves at once where there is none, else when the last one is closed. */
  readonly allClosed: () => Promise<void>
}

/** Follows the connections of a server from now on. */
export function followSockets(server: Server): OpenSockets {
  const open = new Set<Socket>()
  const waiting: (() => void)[] = []
  server.on('connection', (socket) => {
    open.add(socket)
    socket.once('close', () => {
      open.delete(socket)
      if (open.size === 0) for (const done of waiting.splice(0)) done()
    })
    // Whatever serves the connection learns of it by its close; an unheard error would end the process.
    socket.on('error', () => {})
  })
  return {
    cut: () => {
      for (const socket of open) socket.destroy()
    },
    allClosed: () => (open.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  }
}

/** Gives a server that does not listen the connections of a source, as if it had accepted them itself. */
export function takeSockets(server: Server, source: SocketSource): () => void {
  return source.subscribe((socket) => {
    // Set by listen() on what it accepts.
    socket.setNoDelay(true)
    server.emit('connection', socket)
  })
}
