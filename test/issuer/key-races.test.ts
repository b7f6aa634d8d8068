import assert from 'node:assert/strict'
import { decodeProtectedHeader } from 'jose'
import { sameKeys } from '../../src/adapters/same-keys.ts'
import type { KeyAlgorithm, KeyStore, StoredKey } from '../../src/core/ports.ts'
import { type KeyPlan, type KeyRing, openKeyRing } from '../../src/issuer/key-ring.ts'

/** Seconds that tokens live. */
const life = 3600
/** Milliseconds by which the clocks of two replicas may differ, and after which each has heard of a change. */
const heard = 1000

/** Numbers that are the same in each run (mulberry32), below `most`. */
function dice(seed: number): (most: number) => number {
  let state = seed
  return (most) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * most)
  }
}

/** Three replicas, whose clocks and settings differ, rotate, remove, change their settings and restart, and answers of state are lost. */
async function live(seed: number): Promise<void> {
  const next = dice(seed)
  let stored: readonly StoredKey[] = []
  const store: KeyStore = {
    list: async () => stored,
    replace: async (seen, wanted) => {
      if (next(4) === 0) await new Promise(setImmediate)
      if (!sameKeys(stored, seen)) return false
      stored = wanted
      if (next(10) === 0) throw new Error('no answer')
      return true
    },
  }
  let now = 1_800_000_000_000
  const ahead = [0, next(heard), -next(heard)]
  const planOf = (): KeyPlan => {
    const algorithm: KeyAlgorithm = next(6) === 0 ? 'EdDSA' : 'ES256'
    return {
      algorithm,
      also: algorithm === 'ES256' && next(2) === 0 ? ['EdDSA'] : [],
      publishBeforeMs: [0, 60_000, 900_000][next(3)]!,
      rotateEveryMs: [1_000_000, 2_000_000, 3_600_000][next(3)]!,
      keepForMs: (life + 60) * 1000,
      settleMs: 2 * heard,
    }
  }
  const tried = (work: Promise<unknown>): Promise<unknown> => work.catch((cause: Error) => assert.equal(cause.message, 'no answer'))
  const open = async (replica: number): Promise<KeyRing> => {
    const feed = { subscribe: () => () => {} }
    for (;;) {
      const opened = await tried(openKeyRing({ store, feed, clock: () => now + ahead[replica]!, reloadEveryMs: 1e9, ...planOf() }))
      if (opened) return opened as KeyRing
    }
  }
  const rings = [await open(0), await open(1), await open(2)]
  const tokens: { readonly kid: string; readonly alg: string; readonly until: number }[] = []
  const removed = new Set<string>()
  for (let step = 0; step < 200; step++) {
    for (let turn = 0; turn < 2; turn++) for (const ring of rings) await tried(ring.reload())
    for (const ring of rings) {
      const { kid = '', alg = '' } = decodeProtectedHeader(ring.sign({}, 'JWT', next(2) ? 'EdDSA' : undefined))
      tokens.push({ kid, alg, until: now + life * 1000 })
    }
    for (const { kid, alg, until } of tokens) {
      if (until <= now || removed.has(kid)) continue
      for (const ring of rings) assert.equal(ring.find(kid, alg).kind, 'key', `seed ${seed}, step ${step}: the key of a valid token`)
    }
    assert.ok(
      stored.every(({ activeAt, retiredAt = activeAt }) => retiredAt >= activeAt),
      `seed ${seed}, step ${step}: a key that ends before it begins`,
    )
    const [act, who] = [next(10), next(3)]
    if (act === 0) await Promise.all(rings.map((ring) => tried(ring.rotate({ now: true }))))
    else if (act === 1) await Promise.all(rings.map((ring) => tried(ring.rotate())))
    else if (act === 2) {
      const { kid } = stored[next(stored.length)]!
      await tried(rings[who]!.remove(kid))
      if (!stored.some((key) => key.kid === kid)) removed.add(kid)
    } else if (act === 3) await tried(rings[who]!.configure(planOf()))
    else if (act === 4) {
      rings[who]!.close()
      rings[who] = await open(who)
    }
    for (const ring of rings) await tried(ring.reload())
    now += [heard, 3000, 30_000, 120_000, 600_000][next(5)]!
  }
  for (const ring of rings) ring.close()
}

describe('keys that replicas change at once', () => {
  it('are there for as long as what they signed is valid, whatever happens', async () => {
    for (let seed = 1; seed <= 8; seed++) await live(seed)
  }).timeout(30_000)
})
