import { deepEqual, equal, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import { type NearCache, openNearCache } from '../../src/adapters/near-cache.ts'
import { slotOf } from '../../src/adapters/redis-slot.ts'
import { openRedisState, type RedisState } from '../../src/adapters/redis-state.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import type { LookedUp } from '../../src/core/ports.ts'
import { ownerLedger } from '../support/owner-ledger.ts'
import { type RunningCluster, startCluster } from '../support/redis-cluster.ts'
import { until } from '../support/until.ts'

const settings = { size: 1000, ttlMs: 30_000, negativeTtlMs: 20_000, maxStaleMs: 0 }
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (id: string) => `postern:default:labels:sandbox:${id}`
/** Ids that hold a hash tag, so that many lie in one slot. */
const ids = (name: string, count: number) => Array.from({ length: count }, (_, i) => `${name}-{m}-${i}`)
const slot = slotOf('{m}')

describe('slots of a Redis Cluster that move', function () {
  this.timeout(40_000)
  let cluster: RunningCluster
  /** What a platform has: a client that has nothing of ours. */
  let platform: Cluster
  before(async () => {
    cluster = await startCluster()
    platform = new Cluster(
      cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })),
      { redisOptions: { protocol: 2 } },
    )
    platform.on('error', () => {})
  })
  after(async () => {
    platform?.disconnect()
    await cluster?.stop()
  })
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  const open = async (): Promise<RedisState> => {
    const state = await openRedisState({ place: { cluster: cluster.hosts, tls: false }, realm: 'default' })
    ends.push(state.close)
    return state
  }
  const nearCache = (state: RedisState): NearCache =>
    openNearCache({ sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]), settings })
  const owner = async (answer: LookedUp | Promise<LookedUp>) => (await answer).labels?.get('agentcube.io/owner')
  /** A primary that does not have the key. */
  const otherThan = async (of: string) => {
    const has = await cluster.ownerOf(of)
    return cluster.nodes.find((node) => node !== has)!
  }

  it('answers rightly under load, of labels that are near and of such that were unknown, while it moves and after', async () => {
    const states = [await open(), await open()]
    const caches = states.map(nearCache)
    const ledger = ownerLedger()
    const [changing, fresh, still] = [ids('changing', 12), ids('fresh', 12), ids('still', 40)]
    for (const id of still) await ledger.wrote(id, 'owner of it', () => platform.hset(key(id), 'agentcube.io/owner', 'owner of it'))
    for (const id of changing) ledger.write(id, (name) => platform.hset(key(id), 'agentcube.io/owner', name), 40)
    for (const cache of caches)
      for (const id of [...changing, ...fresh, ...still]) ledger.read(id, () => cache.labels(undefined, 'sandbox', id), 10)
    await sleep(500)
    let made = 0
    for (let round = 0; round < 4; round++) {
      await cluster.moveSlot(slot, await otherThan(key('{m}')), async () => {
        // Unknown so far, and remembered as such: made at the new server, of which the old one never tells.
        for (const id of fresh.slice(3 * round, 3 * round + 2)) {
          await ledger.wrote(id, 'maker', () => platform.hset(key(id), 'agentcube.io/owner', 'maker'))
          made += 1
        }
        await sleep(1300)
      })
      const last = fresh[3 * round + 2]!
      await ledger.wrote(last, 'maker', () => platform.hset(key(last), 'agentcube.io/owner', 'maker'))
      made += 1
      await sleep(700)
    }
    await sleep(1000)
    await ledger.stop()
    deepEqual(ledger.wrong, [])
    equal(made, fresh.length)
    for (const cache of caches) for (const id of fresh) equal(await owner(cache.labels(undefined, 'sandbox', id)), 'maker')
    const { counts } = ledger
    ok(counts.hits > counts.reads / 4, JSON.stringify(counts))
    ok(counts.written > 500 && counts.unsure === 0, JSON.stringify(counts))
    // Asking again elsewhere is no failure.
    ok(counts.unavailable < counts.reads / 1000, JSON.stringify(counts))
    deepEqual(
      states.map((state) => state.fault()),
      [undefined, undefined],
    )
  })

  it('writes, swaps and removes in a slot that is on its way, and none is lost', async () => {
    const state = await open()
    const all = ids('written', 30)
    for (const id of all) await state.labels.write('sandbox', id, owned('first'))
    await cluster.moveSlot(slot, await otherThan(key('{m}')), async () => {
      for (const [i, id] of all.entries()) {
        if (i % 3 === 0) await state.labels.write('sandbox', id, owned('second'))
        else if (i % 3 === 1) equal(await state.labels.swap('sandbox', id, owned('first'), owned('second')), true)
        else equal(await state.labels.remove('sandbox', id), true)
      }
      equal(await state.labels.swap('sandbox', ids('new', 1)[0]!, undefined, owned('second')), true)
      equal(await state.labels.swap('sandbox', all[0]!, owned('first'), owned('third')), false)
      const many = all.map((id) => ({ resource: 'sandbox', id: `${id}-more`, labels: owned('many') }))
      deepEqual(
        await state.labels.writeMany(many, 'absent'),
        many.map(() => true),
      )
    })
    for (const [i, id] of all.entries()) {
      deepEqual((await state.labels.read('sandbox', id))?.labels, i % 3 === 2 ? undefined : owned('second'))
      deepEqual((await state.labels.read('sandbox', `${id}-more`))?.labels, owned('many'))
    }
    deepEqual((await state.labels.read('sandbox', ids('new', 1)[0]!))?.labels, owned('second'))
  })

  it('keeps nothing near of a slot that is on its way', async () => {
    const state = await open()
    const cache = nearCache(state)
    const look = async (id: string) => cache.labels(undefined, 'sandbox', id)
    const [there, unknown] = ids('near', 2) as [string, string]
    await state.labels.write('sandbox', there, owned('alice'))
    for (const id of [there, unknown]) await look(id)
    for (const id of [there, unknown]) equal((await look(id)).cache, 'hit')
    await cluster.moveSlot(slot, await otherThan(key('{m}')), async () => {
      await until('the move to be seen', async () => (await look(unknown)).cache === 'miss', 1000)
      for (let i = 0; i < 5; i++) for (const id of [there, unknown]) equal((await look(id)).cache, 'miss')
    })
    await until('the end of it', async () => (await look(unknown)).cache === 'hit' && (await look(there)).cache === 'hit', 2000)
  })

  it('goes on with revocations and records where their slot moves', async () => {
    const [one, two] = [await open(), await open()]
    const list = await openRevocationList({ store: two.revocations, feed: two.feed, maxStalenessMs: 2000 })
    ends.push(async () => list.close())
    const check = (subject: string) => list.check({ subject, issuedAt: 0 }, Date.now())
    const revoke = (target: string) =>
      one.revocations.append({ level: 'subject', target, at: Math.floor(Date.now() / 1000), until: 99_999_999_999 })
    await revoke('before')
    await until('before', () => check('before') === 'revoked', 1000)
    const home = slotOf('{default}')
    await one.records.write('app', { id: 'kept', value: { a: 1 }, until: 0 }, undefined)
    await cluster.moveSlot(home, await otherThan('{default}'), async () => {
      await revoke('meanwhile')
      await until('meanwhile', () => check('meanwhile') === 'revoked', 1000)
      equal(check('nobody'), 'clear')
    })
    await revoke('after')
    await until('after', () => check('after') === 'revoked', 1000)
    equal(check('before'), 'revoked')
    equal(check('nobody'), 'clear')
    await until('trust', () => performance.now() - two.feed.heardAt() < 500, 2000)
    deepEqual((await two.records.read('app', 'kept'))?.value, { a: 1 })
    ok(await one.records.write('app', { id: 'more', value: {}, until: 0 }, undefined))
    await one.audit.commit({ id: 'a', time: '', type: 'decision', outcome: 'deny', realm: 'default' })
    equal((await two.audit.tail(1)).length, 1)
  })

  it('lists every label though slots move while it is listed', async () => {
    const state = await open()
    const all = ids('listed', 200)
    for (const id of all) await state.labels.write('sandbox', id, owned('lister'))
    const found = new Set<string>()
    let cursor: string | undefined
    let pages = 0
    do {
      const page = await state.labels.list({ member: ['agentcube.io/owner', 'lister'] }, 50, cursor)
      for (const { id } of page.entries) found.add(id)
      cursor = page.cursor
      pages += 1
      if (pages === 2) await cluster.moveSlot(slot, await otherThan(key('{m}')))
    } while (cursor !== undefined && pages < 500)
    deepEqual([...found].sort(), all.sort())
  })
})
