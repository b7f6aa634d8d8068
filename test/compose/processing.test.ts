import assert from 'node:assert/strict'
import { createIds } from '../../src/adapters/ids.ts'
import { createMetrics } from '../../src/adapters/metrics.ts'
import { type NearCache, openNearCache } from '../../src/adapters/near-cache.ts'
import { openRedisState, type RedisState } from '../../src/adapters/redis-state.ts'
import { composeProcessing, owedCondition, type Processing } from '../../src/compose/processing.ts'
import type { RequestStep, ResponseStep } from '../../src/core/processing.ts'
import { eventText, intentsIn, label, metadataOf, processedPolicy, settled, storedIn } from '../check/processing-fixture.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

interface Replica {
  readonly state: RedisState
  readonly near: NearCache
  readonly processing: Processing
  readonly metrics: ReturnType<typeof createMetrics>
}

const people = ['alice', 'bob', 'carol']

describe('three replicas that capture over one Redis', function () {
  this.timeout(60_000)
  let redis: RunningRedis
  let replicas: Replica[]
  const newId = createIds()
  const log = { info: () => {}, warn: () => {}, error: () => {} }

  before(async () => {
    redis = await startRedis()
    replicas = await Promise.all(
      people.map(async () => {
        const state = await openRedisState({ place: { url: redis.url }, realm: 'default' })
        const near = openNearCache({
          sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]),
          settings: { size: 1000, ttlMs: 30_000, negativeTtlMs: 30_000, maxStaleMs: 0 },
        })
        const metrics = createMetrics({ version: 'test', processMetrics: false })
        const processing = composeProcessing({
          state,
          policy: () => processedPolicy(),
          owners: near,
          count: metrics.processing,
          newId,
          log,
          onFault: (cause) => assert.fail(String(cause)),
        })
        return { state, near, processing, metrics }
      }),
    )
    await until('the feeds', async () => {
      for (const { near } of replicas) await near.labels(undefined, 'sandbox', 'none')
      return true
    })
  })
  after(async () => {
    for (const { processing, near, state, metrics } of replicas ?? []) {
      await processing.close()
      near.close()
      await state.close()
      metrics.close()
    }
    await redis?.stop()
  })

  const begin = async ({ processing }: Replica, by: string, route = 'header', more = {}): Promise<RequestStep> =>
    processing.processor.request({ metadata: metadataOf(by, route, { decision_id: newId(), ...more }), method: 'POST', path: '/' })
  const create = async (replica: Replica, by: string, id: string): Promise<ResponseStep> => {
    const step = await begin(replica, by)
    assert.ok(step.kind === 'follow')
    return step.response.headers(201, new Map([['x-id', [id]]]), true)
  }
  const statusOf = (step: ResponseStep | RequestStep): number | string => (step.kind === 'answer' ? step.answer.status : step.kind)

  it('give an id that all three are told of to one of them', async () => {
    const rounds = Array.from({ length: 50 }, (_, i) => `race-${i}`)
    await Promise.all(
      rounds.map(async (id) => {
        const steps = await Promise.all(replicas.map((replica, n) => create(replica, people[n]!, id)))
        assert.deepEqual(steps.map(statusOf).sort(), [409, 409, 'pass'], id)
        const winner = people[steps.findIndex(({ kind }) => kind === 'pass')]
        assert.equal((await replicas[0]!.state.labels.read('sandbox', id))?.labels.get(label), winner)
      }),
    )
    await until('the intents', async () => (await intentsIn(replicas[0]!.state)).length === 0)
    const told = (await replicas[0]!.state.audit.tail(1000)).map(({ type }) => type)
    assert.equal(told.filter((type) => type === 'owner_captured').length, 50)
    assert.equal(told.filter((type) => type === 'takeover').length, 100)
  })

  it('let the same person create twice at once, on two replicas', async () => {
    const steps = await Promise.all(replicas.map((replica) => create(replica, 'alice', 'twice')))
    assert.deepEqual(steps.map(statusOf), ['pass', 'pass', 'pass'])
  })

  it('know a new owner at once where it was captured, and within a second everywhere, though it was unknown before', async () => {
    for (const { near } of replicas) assert.equal((await near.labels(undefined, 'sandbox', 'fresh')).labels, undefined)
    assert.equal(statusOf(await create(replicas[0]!, 'alice', 'fresh')), 'pass')
    assert.equal((await replicas[0]!.near.labels(undefined, 'sandbox', 'fresh')).labels?.get(label), 'alice')
    for (const { near } of replicas) {
      await until('the owner', async () => (await near.labels(undefined, 'sandbox', 'fresh')).labels?.get(label) === 'alice', 1000)
    }
  })

  it('remove once, however many ask at once', async () => {
    await create(replicas[0]!, 'alice', 'removed')
    const asked = await Promise.all(
      replicas.map((replica) =>
        replica.processing.processor.request({
          metadata: metadataOf('alice', 'remove', { decision_id: newId(), resource: 'sandbox:removed' }),
          method: 'DELETE',
          path: '/',
        }),
      ),
    )
    const steps = await Promise.all(asked.map((step) => (step.kind === 'follow' ? step.response.headers(204, new Map(), true) : step)))
    assert.deepEqual(steps.map(statusOf), ['pass', 'pass', 'pass'])
    assert.equal(await replicas[0]!.state.labels.read('sandbox', 'removed'), undefined)
    const events = (await replicas[0]!.state.audit.tail(1000)).map(eventText)
    assert.equal(events.filter((text) => text === 'owner_released success sandbox:removed by alice').length, 1)
  })

  it('mark what could not be written when Redis answers again, and let nobody have it meanwhile', async () => {
    const [one] = replicas
    const step = await begin(one!, 'alice')
    assert.ok(step.kind === 'follow')
    await redis.kill()
    const answered = await step.response.headers(201, new Map([['x-id', ['lost']]]), true)
    assert.equal(statusOf(answered), 503)
    assert.equal(one!.processing.owed().orphan, 1)
    assert.equal(owedCondition(one!.processing)?.reason, 'WaitsForState')
    assert.match(await one!.metrics.expose(), /postern_captures_total\{outcome="unavailable"\} 1/)
    assert.equal(statusOf(await begin(one!, 'bob')), 503)
    await redis.start()
    await until('the mark', async () => one!.processing.owed().orphan === 0, 30_000)
    const { labels } = (await replicas[1]!.state.labels.read('sandbox', 'lost'))!
    assert.deepEqual([...labels.keys()], ['mark:orphan'])
    for (const [n, replica] of replicas.entries()) {
      await until('the replica', async () => statusOf(await create(replica, people[n]!, `after-${n}`)) === 'pass', 30_000)
      assert.equal(statusOf(await create(replica, people[n]!, 'lost')), 409)
    }
    assert.equal(owedCondition(one!.processing), undefined)
    const events = (await replicas[1]!.state.audit.tail(100)).map(eventText)
    assert.ok(events.includes('orphan failure label_not_written sandbox:lost by alice'))
  })

  it('filter a list from near copies and from Redis', async () => {
    for (const id of ['l1', 'l3']) await create(replicas[0]!, 'alice', id)
    await create(replicas[1]!, 'bob', 'l2')
    for (const replica of replicas) {
      const step = await begin(replica, 'alice', 'root')
      assert.ok(step.kind === 'follow')
      await step.response.headers(200, new Map(), false)
      const reduced = await step.response.body(Buffer.from('["l1","l2","l3","l4"]'))
      assert.equal(reduced.kind === 'replace' && reduced.body.toString(), '["l1","l3"]')
    }
  })

  it('leave nothing behind', async () => {
    await settled()
    await until('the intents', async () => (await intentsIn(replicas[0]!.state)).length === 0)
    for (const labels of Object.values(await storedIn(replicas[0]!.state))) assert.equal('mark:deleting' in labels, false)
  })
})
