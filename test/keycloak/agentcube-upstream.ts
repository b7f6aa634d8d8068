import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Redis } from 'ioredis'
import { createRemoteJWKSet, type JWTPayload, errors as joseErrors, jwtVerify } from 'jose'

/** A request that an upstream let in. */
export interface Served {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** Of the downstream token, verified; undefined on health paths. */
  readonly claims: JWTPayload | undefined
}

export interface AgentcubeUpstream {
  readonly port: number
  readonly served: readonly Served[]
  readonly stop: () => Promise<void>
}

export interface AgentcubeUpstreamOptions {
  /** The `iss` of downstream tokens; its keys verify them. */
  readonly issuer: string
  /** Where AgentCube keeps its sessions. */
  readonly redis: Redis
}

const sessionHeader = 'x-agentcube-session-id'

interface Call {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** `sub` of the downstream token. */
  readonly subject: string
}

interface Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body: string | Buffer | object
}

/** AgentCube's workload manager: makes sessions, and records as their owner who the downstream token is for. */
export const startWorkloadManager = (options: AgentcubeUpstreamOptions): Promise<AgentcubeUpstream> =>
  startUpstream('workloadmanager', options, async ({ method, url, body, subject }) => {
    const [, , kind = '', sessions, id] = url.pathname.split('/')
    if (method === 'DELETE' && sessions === 'sessions' && id !== undefined) {
      const gone = await options.redis.del(`session:${id}`)
      return gone === 1 ? { status: 200, body: { message: 'session deleted' } } : { status: 404, body: { error: 'no such session' } }
    }
    const { name, namespace } = JSON.parse(body.toString()) as { name?: string; namespace?: string }
    return { status: 200, body: { sessionId: await makeSession(options.redis, { kind, name, namespace }, subject) } }
  })

/** The sandbox's end, behind AgentCube's router: keeps files, "runs" commands, and starts a session where none is named. */
export function startPicod(options: AgentcubeUpstreamOptions): Promise<AgentcubeUpstream> {
  const files = new Map<string, Map<string, string>>()
  return startUpstream('picod', options, async ({ method, url, headers, body, subject }) => {
    const [, , , namespace, kind = '', name, , ...rest] = url.pathname.split('/')
    const session = headers[sessionHeader] ?? (await makeSession(options.redis, { kind, name, namespace }, subject))
    const own = files.get(session) ?? new Map<string, string>()
    files.set(session, own)
    const told = { [sessionHeader]: session }
    const path = rest.join('/')
    if (method === 'POST' && path === 'api/execute') return { status: 200, headers: told, body: execute(body, own) }
    if (method === 'POST' && path === 'api/files') {
      const [file, content] = await fileIn(headers['content-type'] ?? '', body)
      own.set(file, content)
      return { status: 200, headers: told, body: { path: file } }
    }
    if (path === 'api/files') return { status: 200, headers: told, body: { files: [...own.keys()].map((file) => ({ name: file })) } }
    if (path.startsWith('api/files/')) return fileAnswer(own.get(path.slice('api/files/'.length)))
    const payload: unknown = body.length > 0 ? JSON.parse(body.toString()) : null
    return { status: 200, headers: told, body: { kind, name, namespace, path, subject, payload } }
  })
}

async function makeSession(redis: Redis, what: object, ownerId: string): Promise<string> {
  const sessionId = randomUUID()
  await redis.set(`session:${sessionId}`, JSON.stringify({ sessionId, ...what, ownerId }))
  return sessionId
}

/** Nothing is run: a file that is named last is the output, else the arguments are. */
function execute(body: Buffer, files: ReadonlyMap<string, string>): object {
  const { command } = JSON.parse(body.toString()) as { command: string[] }
  return { stdout: files.get(command.at(-1) ?? '') ?? command.slice(1).join(' '), stderr: '', exit_code: 0 }
}

async function fileIn(contentType: string, body: Buffer): Promise<[path: string, content: string]> {
  if (!contentType.startsWith('multipart/')) {
    const { path, content } = JSON.parse(body.toString()) as { path: string; content: string }
    return [path, Buffer.from(content, 'base64').toString()]
  }
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': contentType } }).formData()
  const file = form.get('file')
  return [String(form.get('path')), file instanceof Blob ? await file.text() : '']
}

const fileAnswer = (content: string | undefined): Answer =>
  content === undefined ? { status: 404, body: { error: 'no such file' } } : { status: 200, body: Buffer.from(content) }

/** Lets in who has a downstream token for this audience and no other; health paths are open. */
async function startUpstream(
  audience: string,
  { issuer }: AgentcubeUpstreamOptions,
  answer: (call: Call) => Promise<Answer>,
): Promise<AgentcubeUpstream> {
  // A new key of Keycloak's signs at once: whoever does not know it has to ask, and not to wait 30 s before asking again.
  const keys = createRemoteJWKSet(new URL(`${issuer}/protocol/openid-connect/certs`), { cooldownDuration: 500 })
  const served: Served[] = []

  const handle = async (request: IncomingMessage): Promise<Answer> => {
    const { method = '', url: target = '/' } = request
    const url = new URL(target, 'http://upstream')
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]))
    const body = await read(request)
    if (url.pathname.startsWith('/health/')) {
      served.push({ method, path: target, headers, claims: undefined })
      return { status: 200, body: { status: 'ok' } }
    }
    const token = /^Bearer (\S+)$/.exec(headers['authorization'] ?? '')?.[1]
    if (token === undefined) return { status: 401, body: { error: `${audience} got no token` } }
    // A token that ended on its way here is still good: clocks are the same, but seconds are whole.
    const { payload } = await jwtVerify(token, keys, { issuer, audience, clockTolerance: 5, requiredClaims: ['sub', 'exp'] })
    served.push({ method, path: target, headers, claims: payload })
    return answer({ method, url, headers, body, subject: payload.sub! })
  }

  const server = createServer((request, response) => {
    handle(request).then(
      (good) => send(response, good),
      (error: unknown) =>
        error instanceof joseErrors.JOSEError
          ? send(response, { status: 401, body: { error: `${audience}: ${error.code}` } })
          : send(response, { status: 500, body: { error: String(error) } }),
    )
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    served,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

function send(response: ServerResponse, { status, headers = {}, body }: Answer): void {
  const bytes = Buffer.isBuffer(body)
  const type = bytes ? 'application/octet-stream' : 'application/json'
  response.writeHead(status, { 'content-type': type, ...headers }).end(bytes || typeof body === 'string' ? body : JSON.stringify(body))
}
