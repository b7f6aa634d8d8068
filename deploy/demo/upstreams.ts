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

export interface UpstreamOptions {
  readonly issuer: string
  /** The owner API of Postern. */
  readonly admin: string
  readonly adminSecret: string
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

/** Creates sandboxes, and records who owns them: the `sub` of the token that Postern put on the request. */
export function workloadManager(options: UpstreamOptions): Promise<Upstream> {
  const verify = verifier(options.issuer, 'workloadmanager')
  return listen(async (request, response) => {
    if (request.url === '/healthz') return json(response, 200, { status: 'ok' })
    const token = await verify(request)
    const id = `sb-${randomUUID().slice(0, 8)}`
    const { access_token } = await call(`${options.admin}/v1/admin/auth`, 'POST', { secret: options.adminSecret })
    await call(`${options.admin}/v1/resources/sandbox/${id}/labels`, 'PUT', { owner: token.sub }, String(access_token))
    return json(response, 201, { id, saw: sawOf('workloadmanager', request, token) })
  })
}

/** A sandbox: verifies its token, and that it was made for this very sandbox. */
export function sandbox(options: UpstreamOptions): Promise<Upstream> {
  const verify = verifier(options.issuer, 'picod')
  return listen(async (request, response) => {
    const token = await verify(request)
    const id = request.url?.split('/')[3]
    if (token['resource'] !== `sandbox:${id}`) throw new Error(`a token for ${String(token['resource'])} was used on ${id}`)
    return json(response, 200, { saw: sawOf('sandbox', request, token) })
  })
}

async function call(url: string, method: string, body: object, token?: string): Promise<Record<string, unknown>> {
  const headers = { 'content-type': 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) }
  const answer = await fetch(url, { method, headers, body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${method} ${new URL(url).pathname} answered ${answer.status}: ${await answer.text()}`)
  const text = await answer.text()
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
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
