import { request as httpRequest } from 'node:http'
import { openApiKeyList } from '../../src/adapters/api-key-list.ts'
import { openMemoryState } from '../../src/adapters/memory-state.ts'
import { createMetrics } from '../../src/adapters/metrics.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { createAdminApp } from '../../src/admin/app.ts'
import { hostsOf } from '../../src/admin/hosts.ts'
import type { AdminOptions } from '../../src/admin/ports.ts'
import type { Connection } from '../../src/core/connection.ts'
import type { State } from '../../src/core/ports.ts'
import { adminTokens } from '../../src/issuer/admin-token.ts'
import { openKeyRing } from '../../src/issuer/key-ring.ts'
import { createMint } from '../../src/issuer/mint.ts'
import { startHttpListener } from '../../src/wire/http-listener.ts'

export const adminSecret = 'a-secret-of-at-least-32-characters!!'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  readonly json: Record<string, unknown>
}

export interface Ask {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | object
  readonly token?: string
}

export interface Fixture {
  readonly port: number
  readonly state: State
  readonly faults: unknown[]
  readonly options: AdminOptions
  readonly ask: (path: string, ask?: Ask) => Promise<Answer>
  /** The app itself, for connections that no test client makes. */
  readonly fetch: (request: Request, connection: Connection) => Response | Promise<Response>
  /** Logs in by the secret. */
  readonly login: () => Promise<string>
  readonly close: () => Promise<void>
}

/** One request as it is written, with the Host and headers that a test wants. */
function send(port: number, path: string, { method = 'GET', headers = {}, body, token }: Ask): Promise<Answer> {
  const text = typeof body === 'object' ? JSON.stringify(body) : body
  const given = {
    ...(text === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) }),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    ...headers,
  }
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({ host: '127.0.0.1', port, path, method, headers: given, agent: false }, (incoming) => {
      const parts: Buffer[] = []
      incoming.on('data', (part: Buffer) => parts.push(part))
      incoming.on('error', reject)
      incoming.on('end', () => {
        const answer = Buffer.concat(parts).toString()
        const isJson = /[/+]json/.test(incoming.headers['content-type'] ?? '')
        const json = isJson && answer !== '' ? (JSON.parse(answer) as Record<string, unknown>) : {}
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text: answer, json })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(text)
  })
}

/** The admin app on a real server, with memory state and a real issuer. */
export async function openFixture(change: (options: AdminOptions, state: State) => Partial<AdminOptions> = () => ({})): Promise<Fixture> {
  const state = await openMemoryState({ realm: 'default' })
  const ring = await openKeyRing({
    store: state.keys,
    feed: state.feed,
    publishBeforeMs: 900_000,
    rotateEveryMs: 86_400_000,
    keepForMs: 600_000,
  })
  const mint = createMint({ issuer: 'http://127.0.0.1:9193', signer: ring, adminAudience: 'postern-admin' })
  const verify = adminTokens({ issuer: 'http://127.0.0.1:9193', adminAudience: 'postern-admin', keys: ring })
  const apiKeys = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs: 5000 })
  const revocations = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 5000 })
  const faults: unknown[] = []
  let n = 0
  const plain: AdminOptions = {
    realm: 'default',
    hosts: hostsOf('127.0.0.1'),
    secret: () => adminSecret,
    issuer: {
      verifyAdmin: verify,
      mintAdmin: mint.admin,
      mintEdge: mint.edge,
      edgeAudiences: () => ['postern'],
      listKeys: ring.list,
      jwks: ring.jwks,
      rotateKeys: ring.rotate,
      removeKey: ring.remove,
    },
    workloads: () => new Set(),
    labels: state.labels,
    ownerLabel: () => 'agentcube.io/owner',
    idPatterns: () => [],
    revocations: { append: revocations.revoke, known: revocations.known },
    apiKeys: {
      list: () => apiKeys,
      validators: () => [{ name: 'partners', namespace: 'key:', defaultRole: 'viewer', mayAssert: new Set(['viewer', 'editor']) }],
      roles: () => ['viewer', 'editor', 'admin'],
    },
    audit: state.audit,
    metrics: createMetrics({ version: 'test', processMetrics: false }),
    status: () => ({
      version: 'test',
      realm: 'default',
      revision: '0123456789ab',
      since: new Date(0).toISOString(),
      started: new Date(0).toISOString(),
      uptime_seconds: 1,
      ready: true,
      conditions: [],
      state: { kind: 'memory', up: true },
      feed: { age_ms: null, trusted: true },
      keys: [],
      breakers: {},
      unenforced: [],
      warnings: [],
    }),
    readiness: () => ({ ready: true, reasons: [] }),
    newId: () => `id-${++n}`,
    clock: Date.now,
    onFault: (cause) => faults.push(cause),
  }
  const options = { ...plain, ...change(plain, state) }
  const app = createAdminApp(options)
  const listener = await startHttpListener({
    name: 'admin',
    listener: { address: { kind: 'tcp', host: '127.0.0.1', port: 0 }, tls: { mode: 'none' } },
    fetch: app.fetch,
    onFault: (detail) => faults.push(detail),
  })
  if (listener.address.kind !== 'tcp') throw new Error('no port')
  const { port } = listener.address
  const ask = (path: string, what: Ask = {}): Promise<Answer> => send(port, path, what)
  return {
    port,
    state,
    faults,
    options,
    ask,
    fetch: app.fetch,
    login: async () => String((await ask('/v1/admin/auth', { method: 'POST', body: { secret: adminSecret } })).json['access_token']),
    close: async () => {
      await listener.close(0)
      ring.close()
      await apiKeys.close()
      revocations.close()
      await state.close()
    },
  }
}

/** Opens fixtures that are closed after the test that opened them: one that fails must not leave a server behind. */
export function sparingly(): typeof openFixture {
  const opened: Fixture[] = []
  afterEach(() => Promise.all(opened.splice(0).map((fixture) => fixture.close())))
  return async (change) => {
    const fixture = await openFixture(change)
    opened.push(fixture)
    return fixture
  }
}
