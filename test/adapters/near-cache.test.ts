import { deepEqual, equal, notEqual, ok, rejects, throws } from 'node:assert/strict'
import { type NearCacheSettings, openNearCache } from '../../src/adapters/near-cache.ts'
import type { Labels } from '../../src/core/ownership.ts'
import {
  type Change,
  type ChangeFeed,
  type LabelReader,
  type LabelRecord,
  type LookedUp,
  type Soon,
  Unavailable,
} from '../../src/core/ports.ts'

const owned = (subject: string): Labels => new Map([['agentcube.io/owner', subject]])
const usual: NearCacheSettings = { size: 100, ttlMs: 30_000, negativeTtlMs: 2000, maxStaleMs: 0 }

/** A source whose answers the test gives, one by one. */
function source() {
  const asked: { id: string; answer: (labels: Labels | undefined) => void; fail: (error: Error) => void }[] = []
  const listeners: ((change: Change) => void)[] = []
  const state = { heardAt: 0 }
  const reader: LabelReader = {
    read: (_resource, id) =>
      new Promise<LabelRecord | undefined>((resolve, reject) => {
        asked.push({ id, answer: (labels) => resolve(labels && { labels }), fail: reject })
      }),
  }
  const feed: ChangeFeed = {
    subscribe: (listener) => {
      listeners.push(listener)
      return () => void listeners.splice(listeners.indexOf(listener), 1)
    },
    heardAt: () => state.heardAt,
  }
  const tell = (change: Change) => {
    for (const listener of listeners) listener(change)
  }
  return { reader, feed, asked, state, tell, listeners }
}

function setUp(settings: Partial<NearCacheSettings> = {}, mostFetches?: number) {
  const own = source()
  const clock = { now: 0 }
  const cache = openNearCache({
    sources: new Map([[undefined, own]]),
    settings: { ...usual, ...settings },
    clock: () => clock.now,
    ...(mostFetches === undefined ? {} : { mostFetches }),
  })
  const look = (id: string): Soon<LookedUp> => cache.labels(undefined, 'sandbox', id)
  /** Looks up and lets the source answer. */
  const fill = async (id: string, labels: Labels | undefined) => {
    const found = look(id)
    own.asked.at(-1)?.answer(labels)
    return found
  }
  const at = (ms: number) => {
    clock.now = ms
    own.state.heardAt = ms
  }
  return { own, clock, cache, look, fill, at }
}

describe('near cache', () => {
  it('fetches once, then answers synchronously', async () => {
    const { look, fill, own } = setUp()
    deepEqual(await fill('s', owned('alice')), { labels: owned('alice'), cache: 'miss' })
    const hit = look('s')
    ok(!(hit instanceof Promise))
    deepEqual(hit, { labels: owned('alice'), cache: 'hit' })
    equal(own.asked.length, 1)
  })

  it('makes one fetch of many look-ups at once', async () => {
    const { look, own } = setUp()
    const looks = Array.from({ length: 10 }, () => look('s'))
    own.asked[0]?.answer(owned('alice'))
    for (const found of await Promise.all(looks)) deepEqual(found.labels, owned('alice'))
    equal(own.asked.length, 1)
  })

  it('ends a copy with its time to live, an unknown resource sooner', async () => {
    const { look, fill, at } = setUp()
    await fill('known', owned('alice'))
    deepEqual(await fill('unknown', undefined), { labels: undefined, cache: 'miss' })
    at(1999)
    deepEqual(look('unknown'), { labels: undefined, cache: 'hit' })
    at(2000)
    ok(look('unknown') instanceof Promise)
    at(29_999)
    ok(!(look('known') instanceof Promise))
    at(30_000)
    ok(look('known') instanceof Promise)
  })

  it('drops what a change names, and that alone', async () => {
    const { look, fill, own } = setUp()
    await fill('a', owned('alice'))
    await fill('b', owned('alice'))
    await fill('none', undefined)
    own.tell({ kind: 'label', source: undefined, resource: 'sandbox', id: 'a' })
    own.tell({ kind: 'label', source: undefined, resource: 'sandbox', id: 'none' })
    own.tell({ kind: 'label', source: undefined, resource: 'session', id: 'b' })
    ok(look('a') instanceof Promise)
    ok(look('none') instanceof Promise)
    ok(!(look('b') instanceof Promise))
    own.tell({ kind: 'labels' })
    ok(look('b') instanceof Promise)
  })

  for (const change of [{ kind: 'label', source: undefined, resource: 'sandbox', id: 's' }, { kind: 'labels' }] as const) {
    it(`does not keep what was fetched while a change came (${change.kind})`, async () => {
      const { look, own } = setUp()
      const early = look('s')
      own.tell(change)
      const late = look('s')
      equal(own.asked.length, 2)
      own.asked[1]?.answer(owned('bob'))
      deepEqual((await late).labels, owned('bob'))
      // The answer from before the change comes last, and must not win.
      own.asked[0]?.answer(owned('alice'))
      deepEqual((await early).labels, owned('alice'))
      deepEqual(look('s'), { labels: owned('bob'), cache: 'hit' })
    })
  }

  it('keeps what comes after its caller has gone', async () => {
    const { look, own } = setUp()
    void look('s')
    own.asked[0]?.answer(owned('alice'))
    await new Promise(setImmediate)
    deepEqual(look('s'), { labels: owned('alice'), cache: 'hit' })
  })

  it('passes a failure on to all who wait, keeps nothing of it, and asks again', async () => {
    const { look, fill, own } = setUp()
    const looks = [look('s'), look('s')]
    own.asked[0]?.fail(new Unavailable('down'))
    for (const found of looks) await rejects(async () => found, Unavailable)
    deepEqual((await fill('s', owned('alice'))).cache, 'miss')
  })

  it('distrusts its copies when the feed is silent for more than a second', async () => {
    const { look, fill, clock, own } = setUp()
    await fill('s', owned('alice'))
    clock.now = 1000
    ok(!(look('s') instanceof Promise))
    clock.now = 1001
    throws(() => look('s'), Unavailable)
    throws(() => look('other'), Unavailable)
    equal(own.asked.length, 1)
    own.state.heardAt = 1001
    ok(!(look('s') instanceof Promise))
  })

  it('serves a copy at most max_stale after it was last known to be true', async () => {
    const { look, fill, clock, at } = setUp({ maxStaleMs: 3000 })
    await fill('s', owned('alice'))
    at(10_000)
    clock.now = 13_000
    deepEqual(look('s'), { labels: owned('alice'), cache: 'hit' })
    throws(() => look('other'), Unavailable)
    clock.now = 13_001
    throws(() => look('s'), Unavailable)
  })

  it('never serves a stale copy past its time to live', async () => {
    const { look, fill, clock } = setUp({ ttlMs: 1500, maxStaleMs: 5000 })
    await fill('s', owned('alice'))
    clock.now = 1499
    ok(look('s'))
    clock.now = 1500
    throws(() => look('s'), Unavailable)
  })

  it('bounds the fetches under way', async () => {
    const { look, own } = setUp({}, 2)
    const first = look('a')
    void look('b')
    ok(look('a') instanceof Promise)
    throws(() => look('c'), Unavailable)
    own.asked[0]?.answer(owned('alice'))
    await first
    ok(look('c') instanceof Promise)
  })

  it('is not emptied by probing for ids that do not exist', async () => {
    const { look, fill, cache } = setUp({ size: 100 })
    await fill('s', owned('alice'))
    for (let i = 0; i < 500; i++) await fill(`probe-${i}`, undefined)
    equal((look('s') as LookedUp).cache, 'hit')
    ok(cache.size() <= 201)
  })

  it('answers synchronously on a miss too, where the reader does', () => {
    const own = { ...source(), reader: { read: () => ({ labels: owned('alice') }) } }
    const cache = openNearCache({ sources: new Map([[undefined, own]]), settings: usual, clock: () => 0 })
    deepEqual(cache.labels(undefined, 'sandbox', 's'), { labels: owned('alice'), cache: 'miss' })
    deepEqual(cache.labels(undefined, 'sandbox', 's'), { labels: owned('alice'), cache: 'hit' })
  })

  it('asks anew where a look-up is strict, whatever it has, and keeps what it is told', async () => {
    const { cache, look, fill, own } = setUp()
    await fill('s1', owned('alice'))
    const strict = cache.labels(undefined, 'sandbox', 's1', undefined, true)
    ok(strict instanceof Promise)
    own.asked.at(-1)?.answer(owned('bob'))
    deepEqual(await strict, { labels: owned('bob'), cache: 'miss' })
    equal(own.asked.length, 2)
    deepEqual(look('s1'), { labels: owned('bob'), cache: 'hit' })
  })

  it('lets no strict look-up join one that began before, and keeps nothing of that', async () => {
    const { cache, look, own } = setUp()
    const before = look('s1')
    const strict = cache.labels(undefined, 'sandbox', 's1', undefined, true)
    const stricter = cache.labels(undefined, 'sandbox', 's1', undefined, true)
    equal(own.asked.length, 3)
    own.asked[2]?.answer(owned('carol'))
    deepEqual((await stricter).labels, owned('carol'))
    own.asked[1]?.answer(owned('bob'))
    own.asked[0]?.answer(owned('alice'))
    deepEqual((await strict).labels, owned('bob'))
    deepEqual((await before).labels, owned('alice'))
    deepEqual(look('s1'), { labels: owned('carol'), cache: 'hit' })
  })

  it('keeps nothing of a strict look-up that a change came into', async () => {
    const { cache, look, own } = setUp()
    const strict = cache.labels(undefined, 'sandbox', 's1', undefined, true)
    own.tell({ kind: 'label', source: undefined, resource: 'sandbox', id: 's1' })
    own.asked[0]?.answer(owned('alice'))
    deepEqual((await strict).labels, owned('alice'))
    ok(look('s1') instanceof Promise)
    equal(own.asked.length, 2)
  })

  it('answers a strict look-up while the feed is silent, and no other by what it brought', async () => {
    const { cache, look, own, clock } = setUp()
    clock.now = 5000
    const strict = cache.labels(undefined, 'sandbox', 's1', undefined, true)
    own.asked[0]?.answer(owned('alice'))
    deepEqual((await strict).labels, owned('alice'))
    throws(() => look('s1'), Unavailable)
  })

  it('keeps sources apart, each with the feed of its own', async () => {
    const [own, other] = [source(), source()]
    const cache = openNearCache({
      sources: new Map([
        [undefined, own],
        ['other', other],
      ]),
      settings: usual,
      clock: () => 500,
    })
    other.state.heardAt = 0
    own.state.heardAt = -1000
    throws(() => cache.labels(undefined, 'sandbox', 's'), Unavailable)
    const found = cache.labels('other', 'sandbox', 's')
    other.asked[0]?.answer(owned('carol'))
    deepEqual((await found).labels, owned('carol'))
    own.state.heardAt = 0
    own.tell({ kind: 'labels' })
    equal((cache.labels('other', 'sandbox', 's') as LookedUp).cache, 'hit')
    ok(cache.labels(undefined, 'sandbox', 's') instanceof Promise)
    throws(() => cache.labels('nowhere', 'sandbox', 's'), Unavailable)
  })

  it('hears nothing any more once closed', () => {
    const { cache, own } = setUp()
    notEqual(own.listeners.length, 0)
    cache.close()
    equal(own.listeners.length, 0)
  })
})
