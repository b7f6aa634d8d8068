import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

export interface LocalServer {
  readonly url: string
  readonly seen: Seen[]
  /** Replaced at will during a test. */
  handle: (seen: Seen, response: ServerResponse) => void
  readonly stop: () => Promise<void>
}

/** A real HTTP server on a free loopback port, which a test tells how to behave. */
export async function localServer(handle: LocalServer['handle'] = (_, response) => void response.end()): Promise<LocalServer> {
  const local = { url: '', seen: [] as Seen[], handle, stop: async () => {} }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const seen = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(chunks).toString(),
      }
      local.seen.push(seen)
      local.handle(seen, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  local.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  local.stop = async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  return local
}

export const json = (response: ServerResponse, body: unknown, status = 200): void => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
