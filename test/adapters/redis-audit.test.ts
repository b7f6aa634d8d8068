import { deepEqual, equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createIds } from '../../src/adapters/ids.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import type { SealedEvent } from '../../src/core/audit-chain.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { linesOf, verifyTrail } from '../support/audit.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const newId = createIds()
const event = (type: 'decision' | 'owner_changed'): AuditEvent => ({
  id: newId(),
  time: new Date().toISOString(),
  type,
  outcome: 'success',
  realm: 'default',
})

describe('the audit trail in a Redis that fails', function () {
  this.timeout(60_000)
  let redis: RunningRedis
  afterEach(() => redis.stop())

  /** Two replicas that write all the time; what they were told was written. */
  async function writing(during: () => Promise<void>) {
    const replicas = await Promise.all([1, 2].map(() => openRedisState({ place: { url: redis.url }, realm: 'default' })))
    const acknowledged: string[] = []
    let refused = 0
    let going = true
    const writers = replicas.map(async ({ audit }) => {
      while (going) {
        const each = event('owner_changed')
        await audit.commit(each).then(
          () => acknowledged.push(each.id),
          () => refused++,
        )
        audit.append(event('decision'))
        await sleep(1)
      }
    })
    await sleep(300)
    await during()
    going = false
    await Promise.all(writers)
    await until('Redis to answer', () => replicas.every((replica) => replica.fault() === undefined), 10_000)
    const [one] = replicas
    await Promise.all(replicas.map(({ audit }) => audit.tail(1)))
    const verified = await verifyTrail(one!.audit)
    const events = (await linesOf(one!.audit, 'events')).map((line) => JSON.parse(line) as SealedEvent)
    await Promise.all(replicas.map((replica) => replica.close()))
    return { acknowledged, refused, verified, events }
  }

  it('verifies after answers were lost, and holds all that was acknowledged', async () => {
    redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
    const { acknowledged, refused, verified, events } = await writing(async () => {
      for (let round = 0; round < 2; round++) {
        // What was sent is read when it goes on: the answer comes too late.
        redis.hang()
        await sleep(4000)
        redis.resume()
        await sleep(1500)
      }
    })
    deepEqual(verified.problems, [])
    ok(refused > 0)
    ok(acknowledged.length > 100)
    ok(events.filter(({ type }) => type === 'audit_started').length > 2)
    const stored = new Set(events.map(({ id }) => id))
    deepEqual(
      acknowledged.filter((id) => !stored.has(id)),
      [],
    )
  })

  it('verifies after Redis was killed and started again', async () => {
    redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
    const { acknowledged, verified, events } = await writing(async () => {
      for (let round = 0; round < 3; round++) {
        await redis.kill()
        await sleep(200)
        await redis.start()
        await sleep(1500)
      }
    })
    deepEqual(verified.problems, [])
    const stored = new Set(events.map(({ id }) => id))
    equal(acknowledged.filter((id) => !stored.has(id)).length, 0)
  })
})
