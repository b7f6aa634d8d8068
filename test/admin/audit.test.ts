import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { createIds } from '../../src/adapters/ids.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { verifyLines } from '../support/audit.ts'
import { type Fixture, openFixture } from './fixture.ts'

const begun = Date.now()
const newId = createIds()
const event = (n: number, more: Partial<AuditEvent> = {}): AuditEvent => ({
  id: newId(),
  time: new Date(begun - 3_600_000 + n * 1000).toISOString(),
  type: 'token_issued',
  outcome: 'success',
  realm: 'default',
  actor: 'app:a',
  target: `jti-${n}`,
  detail: { n },
  ...more,
})

describe('the audit trail over the admin API', () => {
  let fixture: Fixture
  let token: string
  before(async () => {
    fixture = await openFixture()
    const { audit } = fixture.state
    for (let n = 0; n < 50; n++) {
      audit.append(n % 2 === 0 ? event(n) : event(n, { type: 'decision', outcome: 'deny', actor: 'user:bob', reason: 'missing_role' }))
    }
    audit.append(event(50, { type: 'agent_registered', target: 'spiffe://d/agent/o/t/1' }))
    audit.append(event(51, { type: 'token_revoked', detail: { agent_id: 'spiffe://d/agent/o/t/1' } }))
    audit.append(event(52, { type: 'token_released', actor: 'spiffe://d/agent/o/t/1', outcome: 'failure' }))
    token = await fixture.login()
  })
  after(() => fixture.close())

  const ask = async (query: string) => {
    const { status, json, text } = await fixture.ask(`/v1/audit/events${query}`, { token })
    equal(status, 200, text)
    const events = json['events'] as AuditEvent[]
    return { events, next: json['next_cursor'] as string | undefined, chain: json['chain'] as { heads: { log: string }[] } }
  }
  const numbers = (events: readonly AuditEvent[]) => events.map(({ detail }) => detail?.['n'])

  it('tells the newest events of both logs first, with the state of the chains', async () => {
    const { events, next, chain } = await ask('')
    // The first of each chain has the time at which it was written.
    const times = events.filter(({ type }) => type !== 'audit_started').map(({ time }) => time)
    deepEqual(times, [...times].sort().reverse())
    equal(next, undefined)
    // Two that the trail writes of itself, and the login.
    equal(events.length, 53 + 3)
    deepEqual(
      chain.heads.map(({ log }) => log),
      ['events', 'decisions'],
    )
    ok('chain' in events[0]!)
  })

  it('pages through all of them, each once', async () => {
    const all = (await ask('')).events
    for (const [limit, more] of [
      [7, ''],
      [1, '&event_type=token_issued'],
      [28, ''],
      [56, ''],
    ] as const) {
      const found: AuditEvent[] = []
      let cursor: string | undefined
      let pages = 0
      do {
        const page = await ask(`?limit=${limit}${more}${cursor === undefined ? '' : `&cursor=${cursor}`}`)
        found.push(...page.events)
        cursor = page.next
        ok(++pages < 60)
      } while (cursor !== undefined)
      deepEqual(
        found.map(({ id }) => id),
        all.filter(({ type }) => more === '' || type === 'token_issued').map(({ id }) => id),
      )
    }
  })

  it('filters', async () => {
    equal((await ask('?event_type=decision&limit=1000')).events.length, 25)
    equal((await ask('?outcome=deny')).events.length, 25)
    equal((await ask('?outcome=failure')).events.length, 1)
    equal((await ask('?agent_id=user:bob&limit=5')).events.length, 5)
    deepEqual(
      (await ask(`?agent_id=${encodeURIComponent('spiffe://d/agent/o/t/1')}`)).events.map(({ type }) => type),
      ['token_released', 'token_revoked', 'agent_registered'],
    )
    equal((await ask('?agent_id=nobody')).events.length, 0)
    const since = encodeURIComponent(new Date(begun - 3_600_000 + 40_000).toISOString())
    deepEqual(numbers((await ask(`?since=${since}&event_type=token_issued`)).events), [48, 46, 44, 42, 40])
    equal((await ask('?event_type=audit_started')).events.length, 2)
  })

  it('says what was expected', async () => {
    const wrong: readonly (readonly [string, RegExp])[] = [
      ['?event_type=x', /event_type: expected one of decision, token_issued/],
      ['?outcome=maybe', /outcome: expected one of allow, deny, success, failure/],
      ['?since=yesterday', /since: expected a time such as 2027-01-31T12:00:00Z/],
      ['?limit=0', /limit: expected a number from 1 to 1000/],
      ['?limit=1001', /limit: expected a number from 1 to 1000/],
      ['?limit=1e2', /limit: expected a number/],
      ['?cursor=x', /cursor: expected next_cursor of the page before/],
      [`?cursor=${Buffer.from('["1 OR 1",null,[]]').toString('base64url')}`, /cursor: expected/],
      ['?agent_id=', /agent_id/],
      ['?nonsense=1', /nonsense/],
    ]
    for (const [query, expected] of wrong) {
      const { status, json } = await fixture.ask(`/v1/audit/events${query}`, { token })
      equal(status, 400, query)
      equal(json['reason'], 'bad_query')
      match(String(json['detail']), expected)
    }
    for (const query of ['?log=x', '?limit=5001', '?after=x', '?format=xml'])
      equal((await fixture.ask(`/v1/audit/export${query}`, { token })).status, 400)
  })

  it('exports what is stored, in order, page by page', async () => {
    const lines: string[] = []
    let after = ''
    do {
      const { status, headers, text } = await fixture.ask(`/v1/audit/export?limit=10${after === '' ? '' : `&after=${after}`}`, { token })
      equal(status, 200)
      equal(headers['content-type'], 'application/x-ndjson')
      lines.push(...text.trimEnd().split('\n'))
      after = String(headers['x-postern-next'] ?? '')
    } while (after !== '')
    const decisions = (await fixture.ask('/v1/audit/export?log=decisions', { token })).text.trimEnd().split('\n')
    const { problems, lines: counted } = verifyLines({ events: lines, decisions })
    deepEqual(problems, [])
    equal(counted.decisions, 26)
    const json = (await fixture.ask('/v1/audit/export?log=decisions&format=json', { token })).json
    deepEqual(json, { lines: decisions, next: null })
    ok((await fixture.ask('/v1/audit/keys', { token })).text.includes('"kty"'))
  })

  it('lets in nobody without admin:audit:*', async () => {
    for (const path of ['events', 'export', 'keys']) equal((await fixture.ask(`/v1/audit/${path}`)).status, 401)
    const other = await openFixture((plain) => ({
      issuer: { ...plain.issuer!, verifyAdmin: () => ({ subject: 'x', scopes: ['admin:revoke:*'] }) },
    }))
    for (const path of ['events', 'export', 'keys']) equal((await other.ask(`/v1/audit/${path}`, { token: 'x' })).status, 403)
    await other.close()
  })

  it('looks at so many lines in one call, and goes on from there', async () => {
    const busy = await openFixture()
    for (let n = 0; n < 25; n++) {
      for (let m = 0; m < 1000; m++) busy.state.audit.append(event(n, { type: 'decision', outcome: 'deny' }))
      await busy.state.audit.tail(1)
    }
    busy.state.audit.append(event(0, { target: 'needle' }))
    const login = await busy.login()
    const first = await busy.ask('/v1/audit/events?agent_id=hay', { token: login })
    deepEqual(first.json['events'], [])
    ok(first.json['next_cursor'])
    const second = await busy.ask(`/v1/audit/events?agent_id=hay&cursor=${String(first.json['next_cursor'])}`, { token: login })
    deepEqual([second.json['events'], second.json['next_cursor']], [[], undefined])
    equal(
      ((await busy.ask('/v1/audit/events?agent_id=needle&event_type=token_issued', { token: login })).json['events'] as object[]).length,
      1,
    )
    await busy.close()
  }).timeout(20_000)
})
