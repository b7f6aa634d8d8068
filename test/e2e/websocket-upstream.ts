import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

/** A request or a handshake as the upstream got it. */
export interface Arrived {
  readonly path: string
  /** Lower-case names; several fields of one name stand one after the other. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** The value of a field, where it came once. */
  readonly header: (name: string) => string | undefined
  /** All that came, for a test to look for what must not be there. */
  readonly text: string
}

/** An upstream of plain requests and of WebSockets, with a real server of both. */
export interface WebSocketUpstream {
  readonly port: number
  readonly arrived: readonly Arrived[]
  /** What ordinary requests to a path are answered with, instead of 200 and nothing. */
  readonly serve: (path: string, answer: (request: IncomingMessage, body: string, response: ServerResponse) => void) => void
  readonly stop: () => Promise<void>
}

/** Starts it on 127.0.0.1. It selects the first subprotocol that it is offered, and echoes messages. */
export async function startWebSocketUpstream(): Promise<WebSocketUpstream> {
  const arrived: Arrived[] = []
  const pages = new Map<string, Parameters<WebSocketUpstream['serve']>[1]>()
  const server = createServer((request, response) => {
    arrived.push(describe(request))
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk
    })
    request.on('end', () => {
      const page = pages.get(request.url?.split('?')[0] ?? '')
      if (page) page(request, body, response)
      else response.end()
    })
  })
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (socket, request) => {
    arrived.push(describe(request))
    socket.on('message', (data, binary) => socket.send(data, { binary }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    arrived,
    serve: (path, answer) => void pages.set(path, answer),
    stop: () =>
      new Promise((done) => {
        for (const socket of sockets.clients) socket.terminate()
        sockets.close()
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

function describe({ url = '', rawHeaders }: IncomingMessage): Arrived {
  const fields: [string, string][] = []
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) fields.push([rawHeaders[at]!.toLowerCase(), rawHeaders[at + 1]!])
  const named = (name: string) => fields.filter(([known]) => known === name)
  return {
    path: url,
    fields,
    header: (name) => (named(name).length === 1 ? named(name)[0]?.[1] : undefined),
    text: `${url}\n${fields.map((field) => field.join(': ')).join('\n')}`,
  }
}
