import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'

/** What an upstream received, and answers with as JSON. */
export interface Received {
  readonly upstream: string
  readonly method: string
  readonly path: string
  /** Duplicates joined by Node. */
  readonly headers: Readonly<Record<string, string>>
  /** As received, in order. */
  readonly rawHeaders: readonly (readonly [name: string, value: string])[]
  readonly body: string
}

export interface Upstream {
  readonly port: number
  /** All requests so far. */
  readonly received: readonly Received[]
  readonly stop: () => Promise<void>
}

/** Answers instead of the echo, for tests of captures and streams; gives true when it did. */
export type Answerer = (...args: [...Parameters<RequestListener>, received: Received]) => boolean

/**
 * Starts an upstream on 127.0.0.1 that tells what it received: status 200 and a `Received` as JSON. A WebSocket handshake is
 * answered with 101, then bytes are echoed.
 * @param name is told in the answer, so that a test sees which upstream it reached
 */
export async function startUpstream(
  name: string,
  options: { tls?: { certPem: string; keyPem: string }; answer?: Answerer } = {},
): Promise<Upstream> {
  const { tls, answer } = options
  const received: Received[] = []
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const seen = describe(name, request, Buffer.concat(chunks).toString())
      received.push(seen)
      if (answer?.(request, response, seen)) return
      response.writeHead(200, { 'content-type': 'application/json', 'x-upstream': name }).end(JSON.stringify(seen))
    })
  }
  const server = tls ? createTlsServer({ cert: tls.certPem, key: tls.keyPem }, listener) : createServer(listener)
  const upgraded = new Set<Duplex>()
  server.on('upgrade', (request: IncomingMessage, socket: Duplex) => {
    received.push(describe(name, request, ''))
    upgraded.add(socket)
    socket.on('close', () => upgraded.delete(socket))
    socket.on('error', () => socket.destroy())
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nx-upstream: ${name}\r\n\r\n`)
    socket.pipe(socket)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    received,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        for (const socket of upgraded) socket.destroy()
        server.closeAllConnections()
      }),
  }
}

function describe(upstream: string, request: IncomingMessage, body: string): Received {
  const rawHeaders: [string, string][] = []
  for (let at = 0; at + 1 < request.rawHeaders.length; at += 2) rawHeaders.push([request.rawHeaders[at]!, request.rawHeaders[at + 1]!])
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(request.headers)) headers[name] = Array.isArray(value) ? value.join(', ') : (value ?? '')
  return { upstream, method: request.method ?? '', path: request.url ?? '', headers, rawHeaders, body }
}
