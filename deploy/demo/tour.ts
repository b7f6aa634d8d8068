import { randomUUID } from 'node:crypto'
import type { AccessLogLine } from '../../test/support/envoy.ts'
import { request } from '../../test/support/request.ts'
import type { Platform } from './platform.ts'
import type { Saw } from './upstreams.ts'

/** One request of the tour, and what came of it. */
export interface Shown {
  readonly title: string
  readonly request: string
  readonly status: number
  readonly reason: string
  /** What the upstream learned, or a dash where it was never reached. */
  readonly saw: string
  readonly accessLog: AccessLogLine
  /** What should have come out and did not; empty where all is well. */
  readonly faults: readonly string[]
}

interface Step {
  readonly title: string
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly path: string
  readonly token?: string
  readonly agent?: true
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: object
  readonly expect: {
    readonly status: number
    readonly reason: string
    readonly owner?: string
    readonly subject?: string
    /** What the caller is shown of a list. */
    readonly items?: readonly string[]
  }
}

interface Answer {
  readonly shown: Shown
  readonly body: { readonly id?: string; readonly reason?: string; readonly items?: readonly { readonly id: string }[]; readonly saw?: Saw }
}

/** Walks the tour and tells each step as it is done. */
export async function walk(platform: Platform, tell: (shown: Shown) => void): Promise<readonly Shown[]> {
  const shown: Shown[] = []
  const go = async (step: Step): Promise<Answer['body']> => {
    const answer = await take(platform, step)
    shown.push(answer.shown)
    tell(answer.shown)
    return answer.body
  }
  const { alice, bob, carol, dave, late } = await tokens(platform)
  const create = { method: 'POST', path: '/v1/sandboxes' } as const
  const ok = { status: 200, reason: 'ok' }

  const { id = 'none' } = await go({
    title: 'alice creates a sandbox',
    ...create,
    token: alice,
    expect: { status: 201, reason: 'ok', subject: 'alice' },
  })
  const run = { method: 'POST', path: `/v1/sandboxes/${id}/run` } as const
  await go({ title: 'alice invokes her sandbox', ...run, token: alice, expect: { ...ok, owner: 'yes', subject: 'alice' } })
  await go({ title: 'bob tries the sandbox of alice', ...run, token: bob, expect: { status: 403, reason: 'not_owner', owner: 'no' } })
  await go({
    title: 'bob has his own made under the same name',
    ...create,
    token: bob,
    body: { id },
    expect: { status: 409, reason: 'takeover' },
  })
  await go({ title: 'an admin passes', ...run, token: carol, expect: { ...ok, owner: 'bypassed', subject: 'carol' } })
  const theirs = await go({
    title: 'an agent, by its client certificate, creates one',
    ...create,
    agent: true,
    expect: { status: 201, reason: 'ok', subject: 'workload:spiffe://cluster.local/ns/agents/sa/researcher' },
  })
  await go({ title: 'and invokes it', ...run, path: `/v1/sandboxes/${theirs.id}/run`, agent: true, expect: { ...ok, owner: 'yes' } })
  const list = { method: 'GET', path: '/v1/sandboxes' } as const
  await go({ title: 'alice lists sandboxes: she sees hers', ...list, token: alice, expect: { ...ok, items: [id] } })
  await go({ title: 'an admin sees all', ...list, token: carol, expect: { ...ok, items: [id, theirs.id ?? 'none'] } })
  await go({ title: 'dave has no role', ...create, token: dave, expect: { status: 403, reason: 'missing_role' } })
  await go({ title: 'nobody at all', ...create, expect: { status: 401, reason: 'no_credential' } })
  await go({ title: 'an expired token', ...create, token: late, expect: { status: 401, reason: 'expired_credential' } })
  await go({
    title: 'alice forges a claim header',
    ...run,
    token: alice,
    headers: { 'x-postern-subject': 'bob', 'x-postern-roles': 'admin' },
    expect: { ...ok, owner: 'yes', subject: 'alice' },
  })
  await go({
    title: 'a path trick',
    ...run,
    path: `/v1/sandboxes/${id};v=1/run`,
    token: bob,
    expect: { status: 400, reason: 'bad_request' },
  })
  await go({ title: 'a path that no route has', ...run, path: '/v1/admin', token: carol, expect: { status: 403, reason: 'no_route' } })
  await go({ title: 'a public route', method: 'GET', path: '/healthz', expect: ok })
  await go({
    title: 'alice deletes her sandbox',
    method: 'DELETE',
    path: `/v1/sandboxes/${id}`,
    token: alice,
    expect: { status: 204, reason: 'ok', owner: 'yes' },
  })
  await go({ title: 'and it is nobody’s any more', ...run, token: alice, expect: { status: 403, reason: 'not_owner', owner: 'no' } })
  return shown
}

/** Tokens as the platform's Keycloak would give them. */
async function tokens({ users }: Platform) {
  const mint = (sub: string, roles: readonly string[], over: object = {}): Promise<string> =>
    users.mint({ sub, aud: 'agentcube-router', jti: randomUUID(), email: `${sub}@example.com`, realm_access: { roles }, ...over })
  const hourAgo = Math.floor(Date.now() / 1000) - 3600
  return {
    alice: await mint('alice', ['sandbox:manage']),
    bob: await mint('bob', ['sandbox:manage']),
    carol: await mint('carol', ['admin']),
    dave: await mint('dave', []),
    late: await mint('alice', ['sandbox:manage'], { iat: hourAgo, exp: hourAgo + 300 }),
  }
}

/** The tokens of the tour, for trying by hand. */
export const handTokens = async (platform: Platform): Promise<{ alice: string; bob: string }> => {
  const { alice, bob } = await tokens(platform)
  return { alice, bob }
}

async function take(platform: Platform, step: Step): Promise<Answer> {
  const answer = await request({
    port: platform.port,
    tls: platform.tls(step.agent),
    method: step.method,
    path: step.path,
    headers: {
      host: 'edge.example',
      ...(step.token === undefined ? {} : { authorization: `Bearer ${step.token}` }),
      ...step.headers,
    },
    ...(step.body && { body: JSON.stringify(step.body) }),
  })
  const body = parsed(answer.body)
  // On a denial Postern tells the client its decision; on an allow the upstream, which these upstreams tell on.
  const decision = answer.headers['x-postern-decision'] ?? answer.headers['x-decision-seen']
  if (!decision) throw new Error(`${step.title}: the answer (${answer.status}) carries no decision id`)
  const line = await platform.envoy.logLine({ decision_id: decision })
  // What ext_authz has let on, ext_proc may still answer otherwise, with a reason of its own.
  const reason = body.reason ?? String(line['reason'])
  const { expect } = step
  const faults = [
    ...differs('status', answer.status, expect.status),
    ...differs('reason', reason, expect.reason),
    ...(expect.owner === undefined ? [] : differs('owner_match', line['owner_match'], expect.owner)),
    ...(expect.items === undefined ? [] : differs('the list', body.items?.map(({ id }) => id).join(' '), expect.items.join(' '))),
    ...(expect.subject === undefined ? [] : differs('subject at the upstream', body.saw?.subject, expect.subject)),
  ]
  const items = body.items ? `; the caller sees ${body.items.map(({ id }) => id).join(' ')}` : ''
  const saw = body.saw ? told(body.saw) + items : '–'
  return {
    body,
    shown: { title: step.title, request: `${step.method} ${step.path}`, status: answer.status, reason, saw, accessLog: line, faults },
  }
}

function parsed(body: string): Answer['body'] {
  try {
    return JSON.parse(body) as Answer['body']
  } catch {
    return {} // Envoy's own short answers are no JSON
  }
}

const differs = (what: string, seen: unknown, expected: unknown): string[] =>
  seen === expected ? [] : [`${what} is ${String(seen)}, expected ${String(expected)}`]

function told({ upstream, subject, token }: Saw): string {
  const claims =
    typeof token === 'string'
      ? token
      : Object.entries(token).flatMap(([name, value]) => (value === undefined ? [] : `${name}=${text(value)}`))
  return `${upstream}: x-postern-subject ${subject ?? '–'}; token ${[claims].flat().join(' ')}`
}

const text = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value))
