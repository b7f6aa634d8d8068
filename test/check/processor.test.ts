import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import type { JsonObject } from '../../src/core/json.ts'
import { noLabels } from '../../src/core/ownership.ts'
import type { ImmediateAnswer, RequestStep, ResponseStep } from '../../src/core/processing.ts'
import {
  aReplica,
  eventText,
  type Failures,
  intentsIn,
  memory,
  metadataOf,
  processedPolicy,
  settled,
  storedIn,
  toLabels,
} from './processing-fixture.ts'

type Stored = Record<string, Record<string, string>>

interface Case {
  readonly name: string
  readonly route: string
  readonly by?: string
  readonly method?: string
  /** `none`: Envoy hands on nothing. */
  readonly metadata?: JsonObject | 'none'
  readonly stored?: Stored
  /** Parts of state that fail at the request, and at the response. */
  readonly down?: readonly 'read'[]
  readonly then_down?: readonly 'read'[]
  /** The policy has tenants. */
  readonly tenants?: boolean
  /** Absent: the request is answered, or skipped. */
  readonly response?: {
    readonly status: number
    readonly headers?: Record<string, string | readonly string[]>
    readonly body?: string
  }
  readonly lost?: string
  /** Text before the dot of `skip`, `pass`, or status and reason. */
  readonly answer: string
  readonly body?: string
  /** Once state answers again. */
  readonly labels?: Stored
  readonly events?: readonly string[]
  readonly intents?: number
  readonly counted?: readonly string[]
}

const { cases } = parse(readFileSync(new URL('capture-cases.yaml', import.meta.url), 'utf8')) as { cases: readonly Case[] }

const textOf = (step: RequestStep | ResponseStep): string => {
  if (step.kind !== 'answer') return step.kind
  const { status, body, details } = step.answer
  return `${status} ${body === '' ? details : (JSON.parse(body) as { reason: string }).reason}`
}

describe('ext_proc, by cases', () => {
  for (const one of cases) {
    it(one.name, async () => {
      const state = await memory()
      for (const [key, labels] of Object.entries(one.stored ?? {})) {
        const [resource = '', id = ''] = key.split(':')
        await state.labels.write(resource, id, toLabels(labels))
      }
      const plain = processedPolicy()
      const tenant = { label: 'agentcube.io/tenant', claim: 'tenant', bypass: new Set(['root']) }
      const policy = one.tenants ? processedPolicy({ ownership: { ...plain.ownership, tenant } }) : plain
      const replica = aReplica(state, { policy: () => policy })
      const fail = (parts: readonly string[] | undefined) => {
        replica.failures.parts.clear()
        for (const part of parts ?? []) replica.failures.parts.add(part as Failures['parts'] extends Set<infer P> ? P : never)
      }
      fail(one.down)
      const method = one.method ?? 'POST'
      const metadata = one.metadata === 'none' ? undefined : metadataOf(one.by ?? 'alice', one.route, one.metadata)
      const step = await replica.processor.request({ metadata, method, path: '/' })
      let last: RequestStep | ResponseStep = step
      if (step.kind === 'follow') {
        assert.ok(one.response || one.lost, `the request goes on: ${one.name}`)
        fail(one.then_down)
        if (one.response) {
          const { status, headers = {}, body } = one.response
          const all = new Map(Object.entries(headers).map(([name, value]) => [name, typeof value === 'string' ? [value] : value]))
          last = await step.response.headers(status, all, body === undefined)
          if (last.kind === 'body' && !one.lost) {
            assert.ok(step.body, 'Envoy was told that the body is wanted')
            last = await step.response.body(Buffer.from(body ?? ''))
          }
        }
        if (one.lost) step.response.lost(one.lost)
      } else assert.ok(!one.response && !one.lost, `the request does not go on: ${textOf(step)}`)
      if (!one.lost) assert.equal(textOf(last), one.answer)
      if (one.body !== undefined) assert.equal(last.kind === 'replace' && last.body.toString(), one.body)
      await settled()
      fail([])
      await replica.needs.retries.turn()
      await settled()
      assert.deepEqual(await storedIn(state), one.labels ?? one.stored ?? {})
      const events = await state.audit.tail(100)
      assert.deepEqual(events.map(eventText), one.events ?? [])
      for (const { decisionId } of events) assert.equal(decisionId, 'd1')
      assert.equal((await intentsIn(state)).length, one.intents ?? 0)
      assert.equal(replica.needs.following.size, 0)
      if (one.counted) assert.deepEqual(replica.counted, one.counted)
    })
  }
})

describe('ext_proc', () => {
  const answerOf = async (metadata: JsonObject, method = 'POST'): Promise<ImmediateAnswer> => {
    const step = await aReplica(await memory()).processor.request({ metadata, method, path: '/' })
    assert.equal(step.kind, 'answer')
    return (step as { answer: ImmediateAnswer }).answer
  }

  it('answers with problem details that say no more than a denial does', async () => {
    const answer = await answerOf(metadataOf('alice', 'gone'))
    assert.equal(answer.status, 503)
    assert.deepEqual(JSON.parse(answer.body), {
      type: 'urn:postern:denial:route_unknown',
      title: 'The policy has changed meanwhile',
      status: 503,
      reason: 'route_unknown',
      decision_id: 'd1',
    })
    assert.deepEqual(answer.headers, [
      ['x-postern-decision', 'd1'],
      ['cache-control', 'no-store'],
      ['content-type', 'application/problem+json'],
    ])
    assert.match(answer.details, /^[a-z0-9_]+$/)
  })

  it('answers HEAD without a body', async () => {
    const { body, headers } = await answerOf(metadataOf('alice', 'gone'), 'HEAD')
    assert.equal(body, '')
    assert.ok(!headers.some(([name]) => name === 'content-type'))
  })

  it('has the intent in state before the request goes on, without a credential', async () => {
    const state = await memory()
    await aReplica(state).processor.request({ metadata: metadataOf('auth0|alice', 'header'), method: 'POST', path: '/secret' })
    const [record] = (await state.records.list('capture', 10)).records
    assert.equal(record?.id, 'd1')
    const { owner, ...rest } = record.value
    assert.deepEqual(rest, { subject: 'auth0|alice', resource: 'sandbox', route: 'header', at: 1_700_000_000 })
    assert.match(String(owner), /^sha256-/)
  })

  it('takes the encoding away that the upstream could answer in', async () => {
    const { processor } = aReplica(await memory())
    const made = await processor.request({ metadata: metadataOf('alice', 'body'), method: 'POST', path: '/' })
    assert.deepEqual(made.kind === 'follow' && made.remove, ['accept-encoding'])
    const listed = await processor.request({ metadata: metadataOf('alice', 'list'), method: 'GET', path: '/' })
    assert.ok(listed.kind === 'follow' && ['accept-encoding', 'range', 'if-none-match'].every((name) => listed.remove.includes(name)))
  })

  it('looks up every item of a list once, and lets nobody keep what it made of it', async () => {
    const state = await memory()
    const asked: string[] = []
    const { processor } = aReplica(state, {
      owners: {
        labels: (_, __, id) => {
          asked.push(id)
          return { labels: toLabels({ 'agentcube.io/owner': 'alice' }), cache: 'hit' }
        },
      },
    })
    const step = await processor.request({ metadata: metadataOf('alice', 'root'), method: 'GET', path: '/' })
    assert.ok(step.kind === 'follow')
    await step.response.headers(200, new Map(), false)
    const reduced = await step.response.body(Buffer.from('["s1", "s2", "s1"]'))
    assert.ok(reduced.kind === 'replace')
    assert.deepEqual(asked, ['s1', 's2'])
    assert.deepEqual(reduced.set, [
      ['content-length', '18'],
      ['cache-control', 'private, no-store'],
    ])
    assert.ok(['etag', 'content-digest', 'last-modified'].every((name) => reduced.remove.includes(name)))
  })

  it('answers 503 where not all owners of a list come in time', async () => {
    const { processor } = aReplica(await memory(), { owners: { labels: () => new Promise(() => {}) } })
    const step = await processor.request({ metadata: metadataOf('alice', 'root'), method: 'GET', path: '/' })
    assert.ok(step.kind === 'follow')
    await step.response.headers(200, new Map(), false)
    assert.equal(textOf(await step.response.body(Buffer.from('["s1"]'))), '503 owner_unavailable')
  })

  it('lets one create go on for a decision: that of another stream keeps its intent', async () => {
    const state = await memory()
    const replica = aReplica(state)
    const begin = () => replica.processor.request({ metadata: metadataOf('alice', 'header'), method: 'POST', path: '/' })
    assert.equal((await begin()).kind, 'follow')
    assert.equal(textOf(await begin()), '503 owner_unavailable')
    await replica.needs.retries.turn()
    assert.deepEqual(await intentsIn(state), ['d1'])
    assert.deepEqual([...replica.needs.following], ['d1'])
  })

  it('gives nobody an id whose record cannot be read', async () => {
    const state = await memory()
    const replica = aReplica(state, {
      // As a key of another type in Redis is read, and replaced.
      labels: { read: async () => ({ labels: noLabels }), swap: async (_, __, seen) => seen?.size === 0 },
    })
    const step = await replica.processor.request({ metadata: metadataOf('alice', 'header'), method: 'POST', path: '/' })
    assert.ok(step.kind === 'follow')
    assert.equal(textOf(await step.response.headers(201, new Map([['x-id', ['s1']]]), true)), '409 takeover')
    assert.deepEqual((await state.audit.tail(10)).map(eventText), ['takeover deny takeover sandbox:s1 by alice'])
  })

  it('takes an intent back that was written, though its client was told that it could not be', async () => {
    const state = await memory()
    const replica = aReplica(state)
    replica.failures.parts.add('records')
    replica.failures.after = true
    const step = await replica.processor.request({ metadata: metadataOf('alice', 'header'), method: 'POST', path: '/' })
    assert.equal(textOf(step), '503 owner_unavailable')
    assert.deepEqual(await intentsIn(state), ['d1'])
    replica.failures.parts.clear()
    await replica.needs.retries.turn()
    assert.deepEqual(await intentsIn(state), [])
    assert.deepEqual(await state.audit.tail(10), [])
  })

  it('takes a mark back that was written, though its client was told that it could not be', async () => {
    const state = await memory()
    await state.labels.write('sandbox', 's1', toLabels({ 'agentcube.io/owner': 'alice' }))
    const replica = aReplica(state)
    replica.failures.parts.add('swap')
    replica.failures.after = true
    const metadata = metadataOf('alice', 'remove', { resource: 'sandbox:s1' })
    const step = await replica.processor.request({ metadata, method: 'DELETE', path: '/' })
    assert.equal(textOf(step), '503 owner_unavailable')
    assert.ok((await state.labels.read('sandbox', 's1'))?.labels.has('mark:deleting'))
    replica.failures.parts.clear()
    await replica.needs.retries.turn()
    assert.deepEqual(await storedIn(state), { 'sandbox:s1': { 'agentcube.io/owner': 'alice' } })
  })

  it('loses no create that fails in an unforeseen way', async () => {
    const state = await memory()
    const policy = processedPolicy()
    const route = policy.routes.routes.find(({ id }) => id === 'header')!
    const idPattern = {
      test: () => {
        throw new TypeError('a defect')
      },
    }
    Object.assign(route, { capture: { ...route.capture, idPattern } })
    const replica = aReplica(state, { policy: () => policy })
    const step = await replica.processor.request({ metadata: metadataOf('alice', 'header'), method: 'POST', path: '/' })
    assert.ok(step.kind === 'follow')
    const { headers, lost } = step.response
    await assert.rejects(async () => headers(201, new Map([['x-id', ['s1']]]), true), TypeError)
    // So does the wire.
    lost('the processor failed on a response')
    await settled()
    assert.deepEqual((await state.audit.tail(10)).map(eventText), ['orphan failure response_lost sandbox by alice'])
    assert.deepEqual([await intentsIn(state), replica.needs.following.size], [[], 0])
  })

  it('answers what fails in an unforeseen way', async () => {
    const state = await memory()
    const replica = aReplica({ ...state, records: { ...state.records, write: () => Promise.reject(new TypeError('a defect')) } })
    const step = await replica.processor.request({ metadata: metadataOf('alice', 'header'), method: 'POST', path: '/' })
    assert.equal(textOf(step), '500 internal')
  })
})
