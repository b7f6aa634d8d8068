import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface TcpProxy {
  readonly port: number
  /** Half-open: connections stay, new ones are taken, and not a byte goes through … */
  readonly stall: () => void
  /** The same for connections alone on which somebody hears what changes in Redis, those that come later too. */
  readonly deafen: () => void
  /** … until it forwards again, what was held back included. */
  readonly forward: () => void
  readonly stop: () => Promise<void>
}

/** Starts a TCP proxy on a free port of 127.0.0.1. */
export async function startProxy(target: number): Promise<TcpProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  /** Those over which the channel of invalidations was asked for. */
  const hearing = new Set<readonly [Socket, Socket]>()
  let stalled = false
  let deaf = false
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    const pair = [near, far] as const
    pairs.add(pair)
    const [a, b] = pair
    a.on('data', (bytes) => {
      if (!bytes.includes('__redis__:invalidate')) return
      hearing.add(pair)
      if (deaf) b.pause()
    })
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      from.on('data', (bytes) => to.write(bytes))
      from.on('error', () => {})
      from.on('close', () => {
        to.destroy()
        pairs.delete(pair)
        hearing.delete(pair)
      })
      if (stalled) from.pause()
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    stall: () => {
      stalled = true
      for (const pair of pairs) for (const socket of pair) socket.pause()
    },
    deafen: () => {
      deaf = true
      for (const [, far] of hearing) far.pause()
    },
    forward: () => {
      stalled = false
      deaf = false
      for (const pair of pairs) for (const socket of pair) socket.resume()
    },
    stop: async () => {
      for (const pair of pairs) for (const socket of pair) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
