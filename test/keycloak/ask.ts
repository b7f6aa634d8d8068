import assert from 'node:assert/strict'
import type { AccessLogLine } from '../support/envoy.ts'
import { request } from '../support/request.ts'
import type { AgentcubeEdge } from './agentcube-edge.ts'
import type { Served } from './agentcube-upstream.ts'
import type { AccessToken } from './keycloak.ts'

export interface Question {
  /** Whose bearer token is presented; absent: none. */
  readonly who?: AccessToken | undefined
  readonly method?: 'GET' | 'POST' | 'DELETE' | 'PUT'
  readonly path: string
  /** Of x-agentcube-session-id; absent: not sent. */
  readonly session?: string
  readonly headers?: Readonly<Record<string, string | string[]>>
  /** Sent as JSON. */
  readonly body?: object
}

export interface Outcome {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
  /** What an upstream let in, if the request came so far. */
  readonly served: Served | undefined
  /** Envoy's access-log line of this very request. */
  readonly log: AccessLogLine
}

let asked = 0

/** Sends one request through Envoy, and finds it again at the upstream and in the access log. */
export async function ask(edge: AgentcubeEdge, { who, method = 'GET', path, session, headers = {}, body }: Question): Promise<Outcome> {
  // The query takes no part in decisions; it tells this request from all others.
  const marked = `${path}${path.includes('?') ? '&' : '?'}call=${++asked}`
  const answer = await request({
    port: edge.port,
    tls: edge.tls,
    method,
    path: marked,
    headers: {
      ...(who ? { authorization: `Bearer ${who.token}` } : {}),
      ...(session === undefined ? {} : { 'x-agentcube-session-id': session }),
      ...(body ? { 'content-type': 'application/json' } : {}),
      ...headers,
    },
    ...(body ? { body: JSON.stringify(body) } : {}),
  })
  const served = [...edge.workloadmanager.served, ...edge.picod.served].find((one) => one.path === marked)
  const decision = answer.headers['x-postern-decision'] ?? served?.headers['x-postern-decision']
  assert.ok(decision, `neither client nor upstream saw a decision id: ${answer.status} ${answer.body}`)
  const log = await edge.envoy.logLine({ decision_id: decision })
  return { status: answer.status, headers: answer.headers, body: parsed(answer.body), served, log }
}

function parsed(text: string): Record<string, unknown> {
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text }
}

/** Holds a denial against its three faces: the status, the problem for the client, and the access log. Nothing reached an upstream. */
export function isDenied({ status, body, headers, log, served }: Outcome, expected: { status: number; reason: string }): void {
  assert.deepEqual({ status, reason: body['reason'], logged: log['reason'] }, { ...expected, logged: expected.reason })
  assert.equal(log['decision'], 'deny')
  assert.equal(log['status'], expected.status)
  assert.equal(headers['content-type'], 'application/problem+json')
  assert.equal(served, undefined, 'an upstream saw a request that was denied')
}

/** The request was let through, and the upstream got a token for this audience, made for this subject. */
export function isAllowed({ status, body, log, served }: Outcome, expected: { audience: string; subject: string | undefined }): Served {
  assert.equal(status, 200, JSON.stringify(body))
  assert.ok(served?.claims, 'no upstream saw the request with a token that it could verify')
  assert.deepEqual({ audience: served.claims.aud, subject: served.claims.sub }, expected)
  assert.deepEqual(
    { decision: log['decision'], reason: log['reason'], audience: log['audience'], subject: log['subject'] },
    { decision: 'allow', reason: 'ok', ...expected },
  )
  return served
}
