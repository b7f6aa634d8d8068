import { deepEqual, equal, notDeepEqual, ok, throws } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { memoryReplays } from '../../src/adapters/memory-replays.ts'
import { createMemoryStore, openMemoryState } from '../../src/adapters/memory-state.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openSharedSecret } from '../../src/adapters/shared-secret.ts'
import { type SecretStore, Unavailable } from '../../src/core/ports.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

describe('proofs that were seen, in memory', () => {
  it('answers at once', () => {
    equal(memoryReplays().claim('a', Date.now() / 1000 + 60), true)
  })

  it('refuses where there are too many, forgets none that could be shown again, and takes more once some have expired', () => {
    let now = 1_000_000
    const replays = memoryReplays(100, () => now * 1000)
    for (let i = 0; i < 100; i++) equal(replays.claim(`proof-${i}`, now + 60 + i), true)
    throws(() => replays.claim('one more', now + 60), Unavailable)
    equal(replays.claim('proof-0', now + 60), false)
    now += 61
    equal(replays.claim('one more', now + 60), true)
    for (let i = 2; i < 100; i++) equal(replays.claim(`proof-${i}`, now + 60), false, `proof-${i}`)
  })

  it('forgets as others come, whatever their order', () => {
    let now = 1_000_000
    const replays = memoryReplays(1_000_000, () => now * 1000)
    // Five a second, of which some last longer than those that come after them.
    for (let i = 0; i < 20_000; i++) {
      now += 0.2
      equal(replays.claim(`proof-${i}`, now + (i % 7 === 0 ? 120 : 30)), true)
    }
    ok(replays.size() <= 5 * 121, `${replays.size()} kept`)
  })
})

describe('proofs that were seen, in Redis', () => {
  it('end by themselves, and cannot be had while Redis is down', async () => {
    const redis = await startRedis()
    const state = await openRedisState({ place: { url: redis.url }, realm: 'default' })
    try {
      equal(await state.replays.claim('proof', Date.now() / 1000 + 30), true)
      const ttl = await redis.client().pttl('postern:default:replays:proof')
      ok(ttl > 28_000 && ttl <= 30_000, String(ttl))
      await redis.kill()
      await until('a refusal', async () => {
        try {
          await state.replays.claim('other', Date.now() / 1000 + 30)
        } catch (cause) {
          return cause instanceof Unavailable
        }
        return false
      })
    } finally {
      await state.close()
      await redis.stop()
    }
  })
})

describe('a secret of all replicas', () => {
  it('is the same for all, random, and long', async () => {
    const store = createMemoryStore()
    const states = [await openMemoryState({ realm: 'default', store }), await openMemoryState({ realm: 'default', store })]
    const secrets = await Promise.all(states.map(({ secrets }) => openSharedSecret(secrets, 'nonce')))
    const other = await openSharedSecret((await openMemoryState({ realm: 'default' })).secrets, 'nonce')
    equal(secrets[0]!.current()?.length, 32)
    deepEqual(secrets[0]!.current(), secrets[1]!.current())
    notDeepEqual(secrets[0]!.current(), other.current())
    for (const secret of [...secrets, other]) secret.close()
  })

  it('comes as soon as state answers, and stays while it does not', async () => {
    let down = true
    const store: SecretStore = {
      shared: async (_, candidate) => {
        if (down) throw new Unavailable('down')
        return candidate
      },
    }
    const secret = await openSharedSecret(store, 'nonce', { againMs: 20, retryMs: 10 })
    equal(secret.current(), undefined)
    down = false
    const first = await until('the secret', () => secret.current(), 1000)
    down = true
    await sleep(60)
    equal(secret.current(), first)
    down = false
    await sleep(60)
    equal(secret.current(), first)
    secret.close()
  })

  it('is the one that state has, where state lost it and another replica was first', async () => {
    let kept: string | undefined
    const store: SecretStore = { shared: async (_, candidate) => (kept ??= candidate) }
    const [one, two] = [await openSharedSecret(store, 'nonce', { againMs: 20 }), await openSharedSecret(store, 'nonce', { againMs: 20 })]
    const before = one.current()
    kept = undefined
    await sleep(60)
    deepEqual(one.current(), before)
    deepEqual(two.current(), before)
    kept = Buffer.alloc(32, 7).toString('base64url')
    await until('both to follow', () => [one, two].every((secret) => secret.current()?.[0] === 7), 1000)
    one.close()
    two.close()
  })
})
