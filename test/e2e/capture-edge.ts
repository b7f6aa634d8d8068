import type { ServerResponse } from 'node:http'
import type { Redis } from 'ioredis'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, fixture, startEdge } from '../support/edge.ts'
import { startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type ClientRequest, type ClientResponse, request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { until } from '../support/until.ts'
import { type Answerer, type Received, startUpstream } from '../support/upstream.ts'

/** What the upstream is to answer: the test says it in its own request, so that the upstream knows nothing of Postern. */
export interface Told {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string | string[]>>
  /** JSON unless it is text. */
  readonly body?: unknown
  /** Spaces after the body. */
  readonly padding?: number
  /** Milliseconds until it answers. */
  readonly after?: number
  /** The connection ends instead. */
  readonly reset?: true
}

export interface CaptureEdge {
  /** Replicas: each an Envoy with envoy/capture.yaml, and a Postern of its own; all share one Redis. The last one has workers. */
  readonly edges: readonly Edge[]
  readonly redis: RunningRedis
  readonly client: Redis
  readonly admin: AdminClient
  /** What the upstream has received, newest last. */
  readonly received: readonly Received[]
  /** Sends a request as somebody. @param at number of the replica */
  readonly ask: (
    who: string,
    method: string,
    path: string,
    told?: Told,
    more?: Partial<ClientRequest>,
    at?: number,
  ) => Promise<ClientResponse>
  /** What is kept of a sandbox, straight from Redis. */
  readonly labels: (id: string) => Promise<Readonly<Record<string, string>>>
  /** Events of the audit trail of one type. */
  readonly events: (type: string) => Promise<readonly Readonly<Record<string, unknown>>[]>
  /** Requests that the ext_proc cluster of a replica has had. */
  readonly streams: (at?: number) => Promise<number>
  readonly stop: () => Promise<void>
}

/** Starts replicas over one Redis, and an upstream that answers as it is told. */
export async function startCaptureEdge(replicas: number): Promise<CaptureEdge> {
  const { started, stop } = createStops(() => {})
  try {
    const redis = started(await startRedis())
    const upstream = started(await startUpstream('workloadmanager', { answer }))
    const env = { POSTERN_TEST_ADMIN_SECRET: adminSecret, POSTERN_TEST_KEY: 'ab'.repeat(32) }
    const policy = fixture('capture.yaml').replace('@state@', redis.url)
    const admins: string[] = []
    const edges = await Promise.all(
      Array.from({ length: replicas }, async (_, number) =>
        started(
          await startEdge(
            'capture.yaml',
            policy,
            (filled, { admin }) => {
              admins[number] = admin
              // The last of several has workers: its primary captures, and they decide.
              const workers = replicas > 1 && number === replicas - 1 ? { POSTERN_WORKERS: '2' } : {}
              return startPostern(filled, { env: { ...env, ...workers }, limit: 40_000 })
            },
            1,
            (text) => text.replace(/(cluster_name: workloadmanager[\s\S]*?port_value: )\d+/, `$1${upstream.port}`),
          ),
        ),
      ),
    )
    const client = redis.client()
    const admin = await adminClient(admins[0] ?? '')
    return {
      edges,
      redis,
      client,
      admin,
      received: upstream.received,
      ask: async (who, method, path, told, more = {}, at = 0) => {
        const edge = edges[at]!
        const roles = who === 'root' ? ['admin'] : who === 'nobody' ? [] : ['sandbox:manage']
        const token = await edge.users.mint({ sub: who, aud: 'agentcube-router', realm_access: { roles } })
        const headers = { authorization: `Bearer ${token}`, ...(told ? { 'x-told': JSON.stringify(told) } : {}), ...more.headers }
        return request({ port: edge.port, tls: edge.tls(), method, path, ...more, headers })
      },
      labels: (id) => client.hgetall(`postern:default:labels:sandbox:${id}`),
      events: async (type) => {
        const answer = await admin.call('GET', `/v1/audit/events?event_type=${type}&limit=1000`)
        // While state is away there are none to be had.
        if (!answer.ok) return []
        const got = (await answer.json()) as { events: Record<string, unknown>[] }
        return got.events
      },
      streams: async (at = 0) => {
        const line = await edges[at]!.envoy.admin('/stats?filter=^cluster.postern_ext_proc.upstream_rq_total$')
        return Number(/: (\d+)/.exec(line)?.[1])
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Answers as its request says. */
const answer: Answerer = (_asked, response, { headers }) => {
  const told = JSON.parse(headers['x-told'] ?? '{}') as Told
  if (told.after === undefined) tell(response, told)
  else setTimeout(() => tell(response, told), told.after)
  return true
}

function tell(response: ServerResponse, { status = 200, headers = {}, body = '', padding = 0, reset }: Told): void {
  if (reset) return void response.socket?.destroy()
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  response
    .writeHead(status, { ...(typeof body === 'string' ? {} : { 'content-type': 'application/json' }), ...headers })
    .end(text + ' '.repeat(padding))
}

/** Waits until a look-up says something: replicas hear of changes within a second. */
export const soon = <T>(what: string, look: () => Promise<T | undefined | false>): Promise<Exclude<T, undefined | false>> =>
  until(what, look, 3000)
