import { deepEqual, equal, rejects } from 'node:assert/strict'
import { createAuditQueue } from '../../src/adapters/audit-queue.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'

const event = (id: string): AuditEvent => ({ id, time: '', type: 'decision', outcome: 'deny', realm: 'default' })

function setUp(limit?: number) {
  const written: AuditEvent[] = []
  const batches: number[] = []
  const state = { failing: false }
  const queue = createAuditQueue({
    realm: 'default',
    write: async (events) => {
      await new Promise(setImmediate)
      if (state.failing) throw new Unavailable('down')
      written.push(...events)
      batches.push(events.length)
    },
    gatherMs: 20,
    retryMs: 50,
    ...(limit === undefined ? {} : { limit }),
  })
  return { queue, written, batches, state, ids: () => written.map(({ id }) => id) }
}

describe('audit queue', () => {
  it('gathers, in order, in bounded batches', async () => {
    const { queue, batches, ids } = setUp()
    for (let i = 0; i < 1200; i++) queue.append(event(`${i}`))
    await queue.close()
    deepEqual(
      ids(),
      Array.from({ length: 1200 }, (_, i) => `${i}`),
    )
    deepEqual(batches, [500, 500, 200])
  })

  it('writes by itself', async () => {
    const { queue, ids } = setUp()
    queue.append(event('a'))
    await until('the event', () => ids().length === 1, 200)
    await queue.close()
  })

  it('resolves a commit only when it is written, after what came before', async () => {
    const { queue, ids } = setUp()
    queue.append(event('a'))
    await Promise.all([queue.commit(event('b')), queue.commit(event('c')), queue.commit(event('d'))])
    deepEqual(ids(), ['a', 'b', 'c', 'd'])
    await queue.close()
  })

  it('never forgets a commit that comes as a drain ends', async () => {
    const { queue, ids } = setUp()
    for (let i = 0; i < 200; i++) {
      const done = queue.commit(event(`${i}`))
      for (let turn = 0; turn < i % 8; turn++) await Promise.resolve()
      await done
      void queue.commit(event(`${i}b`))
    }
    await until('all of them', () => ids().length === 400, 1000)
    await queue.close()
  })

  it('refuses a commit that cannot be written now, and keeps its event: what it tells of has been done', async () => {
    const { queue, state, ids } = setUp()
    state.failing = true
    queue.append(event('1'))
    await rejects(queue.commit(event('2')), Unavailable)
    queue.append(event('3'))
    state.failing = false
    await until('the retry', () => ids().length === 3, 500)
    deepEqual(ids(), ['1', '2', '3'])
    await queue.close()
  })

  it('forgets what is only to be written now', async () => {
    const { queue, state, ids } = setUp()
    state.failing = true
    queue.append(event('1'))
    await rejects(queue.commit(event('2'), 'or never'), Unavailable)
    state.failing = false
    await until('the retry', () => ids().length === 1, 500)
    await queue.close()
    deepEqual(ids(), ['1'])
  })

  it('counts the commits that it has no room for', async () => {
    const { queue, state, written } = setUp(2)
    state.failing = true
    for (const id of ['1', '2']) await rejects(queue.commit(event(id)), Unavailable)
    await rejects(queue.commit(event('3')), Unavailable)
    state.failing = false
    await queue.close()
    deepEqual(
      written.map(({ id, reason, detail }) => (reason === 'audit_overflow' ? detail : id)),
      ['1', '2', { aggregate: true, dropped: 1 }],
    )
  })

  it('counts what it has no room for, and tells it once', async () => {
    const { queue, state, written } = setUp(3)
    state.failing = true
    for (const id of ['1', '2', '3', '4', '5']) queue.append(event(id))
    await rejects(queue.commit(event('6')), Unavailable)
    equal(queue.dropped(), 3)
    state.failing = false
    await queue.flush()
    queue.append(event('7'))
    await queue.close()
    const aggregate = written[3]
    deepEqual(
      written.map(({ id, reason }) => reason ?? id),
      ['1', '2', '3', 'audit_overflow', '7'],
    )
    deepEqual(aggregate?.detail, { aggregate: true, dropped: 3 })
    equal(queue.dropped(), 0)
  })

  it('has room again for what was written', async () => {
    const { queue, state, written, ids } = setUp(2)
    state.failing = true
    for (const id of ['1', '2', '3']) queue.append(event(id))
    await queue.flush()
    state.failing = false
    await queue.flush()
    deepEqual(ids().slice(0, 2), ['1', '2'])
    deepEqual(written.at(-1)?.detail, { aggregate: true, dropped: 1 })
    for (const id of ['6', '7', '8']) queue.append(event(id))
    await queue.close()
    deepEqual(ids().slice(3, 5), ['6', '7'])
    equal(written.length, 6)
  })

  it('takes nothing any more once closed', async () => {
    const { queue } = setUp()
    await queue.close()
    await rejects(queue.commit(event('late')), Unavailable)
  })
})
