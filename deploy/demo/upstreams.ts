import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, type JWTPayload, jwtVerify } from 'jose'

export interface Upstream {
  readonly port: number
  readonly stop: () => Promise<void>
}

/** What an upstream learned from Postern's headers and token; the tour shows it. */
export interface Saw {
  readonly upstream: string
  readonly subject: string | undefined
  readonly roles: string | undefined
  readonly workload: string | undefined
  readonly token: { readonly sub?: unknown; readonly aud?: unknown; readonly resource?: unknown; readonly act?: unknown } | string
}

/** Verifies the downstream token as any upstream should: by the issuer's JWKS, for this audience alone. */
function verifier(issuer: string, audience: string): (request: IncomingMessage) => Promise<JWTPayload> {
  const keys = createRemoteJWKSet(new URL(`${issuer}/jwks.json`))
  return async (request) => {
    const token = /^Bearer ([^ ]+)$/.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) throw new Error('no downstream token')
    return (await jwtVerify(token, keys, { issuer, audience, algorithms: ['ES256'] })).payload
  }
}

function sawOf(upstream: string, request: IncomingMessage, { sub, aud, resource, act }: JWTPayload): Saw {
  const header = (name: string): string | undefined => request.headers[`x-postern-${name}`]?.toString()
  return { upstream, subject: header('subject'), roles: header('roles'), workload: header('workload'), token: { sub, aud, resource, act } }
}

/** Creates, lists and deletes sandboxes. It knows nothing of who owns what: that is read from its answers. */
export function workloadManager(issuer: string): Promise<Upstream> {
  const verify = verifier(issuer, 'workloadmanager')
  const ids = new Set<string>()
  return listen(async (request, response) => {
    if (request.url === '/healthz') return json(response, 200, { status: 'ok' })
    const token = await verify(request)
    const saw = sawOf('workloadmanager', request, token)
    if (request.method === 'GET') return json(response, 200, { items: [...ids].map((id) => ({ id })), saw })
    if (request.method === 'DELETE') {
      ids.delete(request.url?.split('/')[3] ?? '')
      response.writeHead(204).end()
      return
    }
    // Who asks for a name gets it, whether it is taken or not: such upstreams exist.
    const { id = `sb-${randomUUID().slice(0, 8)}` } = JSON.parse((await textOf(request)) || '{}') as { id?: string }
    ids.add(id)
    return json(response, 201, { id, saw })
  })
}

/** A sandbox: verifies its token, and that it was made for this very sandbox. */
export function sandbox(issuer: string): Promise<Upstream> {
  const verify = verifier(issuer, 'picod')
  return listen(async (request, response) => {
    const token = await verify(request)
    const id = request.url?.split('/')[3]
    if (token['resource'] !== `sandbox:${id}`) throw new Error(`a token for ${String(token['resource'])} was used on ${id}`)
    return json(response, 200, { saw: sawOf('sandbox', request, token) })
  })
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

function json(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function listen(handle: (request: IncomingMessage, response: ServerResponse) => Promise<void> | void): Promise<Upstream> {
  const server = createServer((request, response) => {
    // So that the tour finds the access-log line of this very request.
    response.setHeader('x-decision-seen', request.headers['x-postern-decision']?.toString() ?? '')
    Promise.resolve(handle(request, response)).catch((cause: unknown) => {
      json(response, 401, { error: cause instanceof Error ? cause.message : String(cause) })
    })
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        stop: () =>
          new Promise((done) => {
            server.close(() => done())
            server.closeAllConnections()
          }),
      }),
    )
  })
}
