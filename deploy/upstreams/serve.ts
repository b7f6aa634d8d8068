import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
// File by file, and TLS only where it is used: a sandbox should listen soon after its start.
import { type Guard, jwtGuard, mtlsGuard } from '../../sdk/typescript/src/guard.ts'
import { checkRequest, writeRefusal } from '../../sdk/typescript/src/node.ts'
import { Refusal } from '../../sdk/typescript/src/refusal.ts'
import type { TlsFiles, TlsMaterial } from '../../sdk/typescript/src/tls.ts'
import { type Caller, createVerifier, type Demand } from '../../sdk/typescript/src/verifier.ts'
import { type CommonOptions, UsageError } from './options.ts'

/** What a sample does with a request. */
export interface Upstream {
  readonly name: string
  /** What the request has to be allowed to do; undefined: there is nothing of that name here. */
  readonly demand: (request: IncomingMessage) => Demand | undefined
  readonly handle: (request: IncomingMessage, response: ServerResponse, caller: Caller) => Promise<void> | void
  /** Told in the line that says that it listens. */
  readonly tells?: Readonly<Record<string, unknown>>
}

/** Seconds that are waited for certificates which somebody else is still to write. */
const certificatesWithin = 60

/** One JSON line. No credential is ever among the fields. */
export const tell = (fields: Readonly<Record<string, unknown>>): void => void process.stdout.write(`${JSON.stringify(fields)}\n`)

/** Listens, and tells `{"listening": "127.0.0.1:41234", …}` when it does. SIGTERM and SIGINT end it. */
export async function serve(upstream: Upstream, options: CommonOptions): Promise<void> {
  const guard = guardOf(upstream.name, options)
  const listener: RequestListener = (request, response) => void answer(upstream, guard, request, response)
  const server = options.tls ? await tlsServer(upstream.name, options.tls, listener) : createServer(listener)
  const health = options.health && createServer(healthOnly)
  const listening = await listen(server, options.listen)
  const told = health && options.health ? { health: await listen(health, options.health) } : {}
  tell({ listening, ...told, upstream: upstream.name, mode: options.mode, audience: options.audience, ...upstream.tells })
  const end = (): void => {
    health?.close()
    server.close(() => process.exit(0))
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), 2_000).unref()
  }
  process.once('SIGTERM', end).once('SIGINT', end)
}

function guardOf(name: string, options: CommonOptions): Guard {
  const { issuer, audience, tokenType: type, jwks: url, jwksCa, allowPlaintextJwks: allowPlaintext, mode, allow } = options
  const keys = { url, allowPlaintext, ...(jwksCa !== undefined && { ca: () => readFileSync(jwksCa, 'utf8') }) }
  const verifier = createVerifier({ issuer, audience, type, keys })
  return mode === 'mtls' ? mtlsGuard({ verifier, realm: name, allow }) : jwtGuard({ verifier, realm: name })
}

async function answer(upstream: Upstream, guard: Guard, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const seen = { upstream: upstream.name, method: request.method, path: request.url?.split('?')[0] }
  const decision = request.headers['x-postern-decision']
  try {
    const demand = upstream.demand(request)
    // Unknown paths too: who may not ask learns nothing of what there is.
    const caller = await checkRequest({ guard, demand: demand ?? { resource: 'any' } }, request)
    if (demand === undefined) json(response, 404, { error: 'not_found' })
    else await upstream.handle(request, response, caller)
    tell({ ...seen, status: response.statusCode, subject: caller.subject, workload: caller.workload, decision })
  } catch (cause) {
    if (cause instanceof Refusal) {
      writeRefusal(response, cause, guard.realm)
      tell({ ...seen, status: cause.status, refused: cause.message, decision })
    } else {
      const told = cause instanceof Answer ? cause : new Answer(500, 'internal', cause instanceof Error ? cause.message : 'unknown')
      if (response.headersSent) response.destroy()
      else json(response, told.status, { error: told.code })
      tell({ ...seen, status: told.status, failed: told.message, decision })
    }
  }
}

/** A request that was verified, and cannot be done. */
export class Answer extends Error {
  override readonly name = 'Answer'
  readonly status: number
  /** Told to the client; the message is for the log. */
  readonly code: string

  constructor(status: number, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export function json(response: ServerResponse, status: number, body: object, headers: Readonly<Record<string, string>> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store', ...headers }).end(JSON.stringify(body))
}

const mostBytes = 64 * 1024

/** @throws {Answer} 413 past 64 KiB */
export async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > mostBytes) throw new Answer(413, 'too_large', `a body of more than ${mostBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

const healthOnly: RequestListener = (request, response) =>
  request.method === 'GET' && request.url === '/healthz'
    ? json(response, 200, { status: 'ok' })
    : json(response, 404, { error: 'not_found' })

async function tlsServer(name: string, files: TlsFiles, listener: RequestListener): Promise<Server> {
  const { readTls, keepFresh } = await import('../../sdk/typescript/src/tls.ts')
  const { createServer: createTlsServer } = await import('node:https')
  const server = createTlsServer(await certificates(name, () => readTls(files)), listener)
  keepFresh(server, files, (failed) => tell({ upstream: name, failed }))
  return server
}

/** spiffe-helper may still be asking for them when this starts. */
async function certificates(name: string, read: () => TlsMaterial): Promise<TlsMaterial> {
  for (let left = certificatesWithin * 10; ; left--) {
    try {
      return read()
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : 'the certificates cannot be read'
      if (left <= 0) throw new UsageError(message)
      if (left === certificatesWithin * 10) tell({ upstream: name, waiting: message })
      await sleep(100)
    }
  }
}

const listen = (server: Server, { host, port }: { host: string; port: number }): Promise<string> =>
  new Promise((done, fail) => {
    server.once('error', fail)
    server.listen(port, host, () => {
      const at = server.address() as AddressInfo
      done(`${host.includes(':') ? `[${host}]` : host}:${at.port}`)
    })
  })

/** Runs a program: what is wrong with its arguments is a sentence on stderr, and exit code 2. */
export async function run(name: string, usage: string, main: () => Promise<void>): Promise<void> {
  if (process.argv.includes('--help')) return void process.stdout.write(usage)
  try {
    await main()
  } catch (cause) {
    const known = cause instanceof UsageError || cause instanceof TypeError
    process.stderr.write(`${name}: ${cause instanceof Error ? (known ? cause.message : cause.stack) : String(cause)}\n`)
    process.exit(known ? 2 : 1)
  }
}
