import { deepEqual, equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { type OwnedReplicas, otherThan, type Person, spread, startOwned } from './owned.ts'
import { startProxy, type TcpProxy } from './proxy.ts'

/** How many owners are changed, each way; the full run has 10,000 (POSTERN_TEST_CHANGES). */
const changes = Number(process.env['POSTERN_TEST_CHANGES'] ?? 600)
/** Changed at the same time. */
const atOnce = 10
/** Checks a second of each replica beside those that watch. */
const load = 200
/** Milliseconds that are promised; what asks and the machine may add. */
const promised = 1000
const slack = 500
const labelKey = (id: string) => `postern:default:labels:sandbox:${id}`

describe('an owner that changes is another one on every replica', function () {
  this.timeout(120_000 + changes * 100)
  let redis: RunningRedis
  let proxy: TcpProxy
  let owned: OwnedReplicas
  let platform: Redis
  let loading: { readonly stop: () => Promise<ReadonlyMap<string, number>> }

  before(async () => {
    redis = await startRedis()
    proxy = await startProxy(redis.port)
    const url = (port: number) => `redis://127.0.0.1:${port}/0`
    owned = await startOwned([url(redis.port), url(redis.port), url(proxy.port)])
    platform = redis.client()
    loading = startLoad(owned, platform)
  })
  after(async () => {
    await loading?.stop()
    await owned?.stop()
    await proxy?.stop()
    await redis?.stop()
  })

  /** All replicas keep it near as this person's. */
  async function warm(id: string, person: Person): Promise<void> {
    for (const { ask } of owned.replicas) equal(await ask(person, id), 'ok')
  }

  /** Milliseconds from the acknowledged change to the first refusal of each of these replicas; what came before counts as 0. */
  async function refusals(replicas: OwnedReplicas['replicas'], id: string, person: Person, change: () => Promise<void>): Promise<number[]> {
    let acknowledged = Number.POSITIVE_INFINITY
    const waiting = replicas.map(async ({ ask }) => {
      const begun = performance.now()
      // One after the other without a pause, which would be measured too.
      while ((await ask(person, id)) !== 'not_owner') ok(performance.now() - begun < 10_000, `${id} is still ${person}'s`)
      return performance.now()
    })
    await change()
    acknowledged = performance.now()
    return (await Promise.all(waiting)).map((refused) => Math.max(0, refused - acknowledged))
  }

  async function measure(name: string, change: (id: string, to: Person, i: number) => Promise<void>): Promise<void> {
    const took: number[] = []
    for (let done = 0; done < changes; done += atOnce) {
      const batch = Array.from({ length: atOnce }, async (_, j) => {
        const i = done + j
        const id = `${name}-${i}`
        const person: Person = i % 2 === 0 ? 'alice' : 'bob'
        await platform.hset(labelKey(id), 'agentcube.io/owner', person)
        await warm(id, person)
        // The replica that is asked to change it knows at once; the others hear of it.
        const others = owned.replicas.filter((_, n) => n !== i % owned.replicas.length)
        return refusals(others, id, person, () => change(id, otherThan(person), i))
      })
      took.push(...(await Promise.all(batch)).flat())
    }
    console.log(`      ${name}: ${spread(took)} over ${took.length} refusals on the other replicas`)
    equal(took.length, 2 * Math.ceil(changes / atOnce) * atOnce)
    ok(Math.max(...took) < promised + slack, spread(took))
  }

  it('when one replica is told to change it', () =>
    measure('by-a-replica', (id, to, i) => owned.replicas[i % owned.replicas.length]!.admin.setOwner('sandbox', id, to)))

  it('when the platform writes straight to Redis', () =>
    measure('by-the-platform', async (id, to) => void (await platform.hset(labelKey(id), 'agentcube.io/owner', to))))

  it('when the channel of changes is cut: within 1 s nothing kept near is believed any more', async () => {
    const cut = owned.replicas.at(-1)!
    const each = Math.min(100, changes)
    const took: number[] = []
    for (let round = 0; round * each < changes; round++) {
      const ids = Array.from({ length: each }, (_, i) => `cut-${round}-${i}`)
      const fill = platform.pipeline()
      for (const id of ids) fill.hset(labelKey(id), 'agentcube.io/owner', 'alice')
      await fill.exec()
      await until('answers', async () => (await cut.ask('alice', ids[0]!)) === 'ok', 10_000)
      for (const id of ids) equal(await cut.ask('alice', id), 'ok')
      proxy.deafen()
      const change = platform.pipeline()
      for (const id of ids) change.hset(labelKey(id), 'agentcube.io/owner', 'bob')
      await change.exec()
      const acknowledged = performance.now()
      const believed = new Set(ids)
      while (believed.size > 0) {
        const look = async (id: string) => {
          const answer = await cut.ask('alice', id)
          if (answer === 'ok') return
          ok(answer === 'owner_unavailable' || answer === 'not_owner' || answer === 'revocation_unavailable', answer)
          took.push(performance.now() - acknowledged)
          believed.delete(id)
        }
        await Promise.all([...believed].map(look))
        ok(performance.now() - acknowledged < 10_000, `${believed.size} are still believed`)
      }
      proxy.forward()
      await until('the recovery', async () => (await cut.ask('bob', ids[0]!)) === 'ok', 10_000)
      for (const id of ids) equal(await cut.ask('alice', id), 'not_owner')
    }
    console.log(`      channel cut: ${spread(took)} until nothing was allowed, over ${took.length} owners`)
    ok(Math.max(...took) < promised + slack, spread(took))
    await sleep(100)
  })

  it('while others are served', async () => {
    const seen = await loading.stop()
    console.log(`      answers of the load beside it: ${[...seen].map(([answer, count]) => `${answer} ${count}`).join(', ')}`)
    ok((seen.get('ok') ?? 0) > 0)
    deepEqual(
      [...seen.keys()].filter((answer) => !['ok', 'owner_unavailable', 'revocation_unavailable'].includes(answer)),
      [],
    )
  })
})

/** A steady load on every replica: alice asks for sandboxes that stay hers. */
function startLoad({ replicas }: OwnedReplicas, platform: Redis) {
  const ids = Array.from({ length: 100 }, (_, i) => `steady-${i}`)
  const seen = new Map<string, number>()
  let over = false
  const run = async ({ ask }: OwnedReplicas['replicas'][number]) => {
    for (let i = 0; !over; i++) {
      const answer = await ask('alice', ids[i % ids.length]!).catch(() => 'no answer')
      seen.set(answer, (seen.get(answer) ?? 0) + 1)
      await sleep(1000 / load)
    }
  }
  const running = (async () => {
    const fill = platform.pipeline()
    for (const id of ids) fill.hset(labelKey(id), 'agentcube.io/owner', 'alice')
    await fill.exec()
    await Promise.all(replicas.map(run))
  })()
  return {
    stop: async () => {
      over = true
      await running
      return seen
    },
  }
}
