import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { openNearCache } from '../../src/adapters/near-cache.ts'
import { slotOf } from '../../src/adapters/redis-slot.ts'
import { openRedisState, type RedisState } from '../../src/adapters/redis-state.ts'
import { StateRefused } from '../../src/adapters/state-refused.ts'
import { type LookedUp, Unavailable } from '../../src/core/ports.ts'
import { startRedis } from '../support/redis.ts'
import { type RunningCluster, startCluster } from '../support/redis-cluster.ts'
import { until } from '../support/until.ts'

const settings = { size: 1000, ttlMs: 30_000, negativeTtlMs: 2000, maxStaleMs: 0 }
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (id: string) => `postern:default:labels:sandbox:${id}`

describe('a Redis Cluster', function () {
  this.timeout(30_000)
  let cluster: RunningCluster
  before(async () => {
    cluster = await startCluster({ flags: ['--cluster-require-full-coverage', 'no'] })
  })
  after(() => cluster?.stop())
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  const open = async (): Promise<RedisState> => {
    const state = await openRedisState({ place: { cluster: cluster.hosts.slice(0, 1), tls: false }, realm: 'default' })
    ends.push(state.close)
    return state
  }
  const nearCache = (state: RedisState) => {
    const cache = openNearCache({ sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]), settings })
    return (id: string) => cache.labels(undefined, 'sandbox', id)
  }
  /** For each primary, an id whose labels it has. */
  const idsByNode = async (name: string): Promise<string[]> => {
    const found: string[] = []
    for (const node of cluster.nodes)
      for (let i = 0; ; i++) {
        const id = `${name}-${i}`
        if ((await cluster.ownerOf(key(id))) !== node) continue
        found.push(id)
        break
      }
    return found
  }
  const owner = async (answer: LookedUp | Promise<LookedUp>) => (await answer).labels?.get('agentcube.io/owner')

  it('has each key in the slot that Redis says', async () => {
    const client = cluster.client(cluster.nodes[0]!)
    const keys = ['', 'a', key('s1'), 'postern:{default}:keys', 'x{}y', 'x{{a}}b', 'x{a}{b}', 'x{a', 'grüße', '{ü}x', '😀', 'a'.repeat(500)]
    for (let i = 0; i < 200; i++) keys.push(key(`sandbox-${i * 7919}`))
    for (const one of keys) equal(slotOf(one), Number(await client.call('CLUSTER', 'KEYSLOT', one)), one)
  })

  it('tells of a change at each of its primaries, of labels that were there and of such that were not', async () => {
    const state = await open()
    const look = nearCache(state)
    const ids = await idsByNode('told')
    for (const id of ids) {
      equal(await owner(look(id)), undefined)
      for (const name of ['alice', 'bob']) {
        await (await cluster.at(key(id))).hset(key(id), 'agentcube.io/owner', name)
        await until(name, async () => (await owner(look(id))) === name, 1000)
        equal((look(id) as LookedUp).cache, 'hit')
      }
    }
    equal(new Set(await Promise.all(ids.map((id) => cluster.ownerOf(key(id))))).size, 3)
  })

  it('takes one round trip for labels that are not near', async () => {
    const state = await open()
    const look = nearCache(state)
    const ids = Array.from({ length: 30 }, (_, i) => `cold-${i}`)
    for (const id of ids.slice(10)) await state.labels.write('sandbox', id, owned('alice'))
    for (const node of cluster.nodes) await cluster.client(node).config('RESETSTAT')
    for (const id of ids) await look(id)
    let reads = 0
    for (const node of cluster.nodes) {
      const stats = await cluster.client(node).info('commandstats')
      for (const [, name, calls] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)) {
        // What beats, and what this test asks, are no part of a look-up.
        if (name === 'hgetall') reads += Number(calls)
        else ok(/^(?:ping|info|cluster\|nodes|client\|trackinginfo|config\|.*|publish)$/.test(name!), `${name} ${calls}`)
      }
    }
    equal(reads, ids.length)
  })

  it('distrusts what one primary has, and nothing else, when that one hangs', async () => {
    const state = await open()
    const look = nearCache(state)
    const ids = await idsByNode('hang')
    for (const id of ids) {
      await state.labels.write('sandbox', id, owned('alice'))
      await look(id)
    }
    await sleep(300)
    const [hanging] = cluster.nodes
    hanging!.hang()
    try {
      await sleep(1050)
      for (let i = 0; i < 10; i++) {
        await rejects(async () => look(ids[0]!), Unavailable)
        for (const id of ids.slice(1)) equal((look(id) as LookedUp).cache, 'hit')
        await sleep(100)
      }
      await rejects(async () => state.labels.read('sandbox', ids[0]!), Unavailable)
      await rejects(state.labels.write('sandbox', ids[0]!, owned('bob')), Unavailable)
      match(state.fault() ?? '', /^Redis Cluster, 1 of 3 primaries: Redis at 127\.0\.0\.1:\d+: /)
      ok(performance.now() - state.feed.heardAt('sandbox', ids[0]!) > 1000)
      ok(performance.now() - state.feed.heardAt('sandbox', ids[1]!) < 1000)
    } finally {
      hanging!.resume()
    }
    await until('trust', () => state.fault() === undefined, 5000)
    equal(await owner(look(ids[0]!)), 'alice')
  })

  it('makes a new session, with all labels dropped, where a connection to one of them is cut', async () => {
    const state = await open()
    const look = nearCache(state)
    for (const [i, id] of (await idsByNode('cut')).entries()) {
      await state.labels.write('sandbox', id, owned('alice'))
      await look(id)
      let dropped = false
      const end = state.feed.subscribe(({ kind }) => {
        dropped ||= kind === 'labels'
      })
      await cluster.client(cluster.nodes[i]!).call('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until('a new session', () => dropped, 2000)
      end()
      await (await cluster.at(key(id))).hset(key(id), 'agentcube.io/owner', 'bob')
      await until('bob', async () => (await owner(look(id))) === 'bob', 1000)
    }
  })

  it('says of a Redis that is no cluster what it is, and of nobody that nobody answers', async () => {
    const redis = await startRedis()
    ends.push(redis.stop)
    const opened = await openRedisState({ place: { cluster: [`127.0.0.1:${redis.port}`, '127.0.0.1:1'], tls: false }, realm: 'default' })
    ends.push(opened.close)
    match(
      opened.fault() ?? '',
      /^Redis Cluster: no node tells where keys are \(127\.0\.0\.1:\d+: it is no node of a cluster, .*127\.0\.0\.1:1: ECONNREFUSED\)$/,
    )
    equal(opened.feed.heardAt(), Number.NEGATIVE_INFINITY)
    await rejects(async () => opened.labels.read('sandbox', 's'), Unavailable)
    await rejects(async () => opened.labels.list({}, 10), Unavailable)
    await rejects(async () => opened.revocations.list(), Unavailable)
  })

  it('keeps all that is not labels in one slot, and labels where everybody looks for them', async () => {
    const state = await open()
    await state.labels.write('sandbox', 'names', owned('alice'))
    await state.revocations.append({ level: 'token', target: 't', at: 1, until: 99_999_999_999 })
    equal(await state.keys.replace([], [{ kid: 'k', algorithm: 'ES256', createdAt: 1, activeAt: 1, privateKey: 'p' }]), true)
    await state.audit.commit({ id: 'a', time: '', type: 'decision', outcome: 'deny', realm: 'default' })
    ok(await state.records.write('app', { id: 'a', value: {}, until: 1 }, undefined))
    await state.apiKeys.noteUsed(new Map([['k', 1]]))
    equal(await state.secrets.shared('s', 'secret'), 'secret')
    equal(await state.replays.claim('p', Date.now() / 1000 + 60), true)
    const all = (await Promise.all(cluster.nodes.map((node) => cluster.client(node).keys('*')))).flat()
    ok(all.includes(key('names')))
    const others = all.filter((name) => !name.startsWith('postern:default:labels:'))
    deepEqual([...new Set(others.map(slotOf))], [slotOf('{default}')])
    ok(others.length >= 7 && others.every((name) => name.startsWith('postern:{default}:')), others.join())
  })

  it('refuses the start where one of its primaries would throw revocations away, and says which', async () => {
    const [, odd] = cluster.nodes
    const client = cluster.client(odd!)
    await client.config('SET', 'maxmemory', '100mb', 'maxmemory-policy', 'allkeys-lru')
    try {
      await rejects(
        openRedisState({ place: { cluster: cluster.hosts, tls: false }, realm: 'default' }),
        (error: Error) =>
          error instanceof StateRefused && error.message.includes(`127.0.0.1:${odd!.port}: maxmemory-policy is allkeys-lru`),
      )
    } finally {
      await client.config('SET', 'maxmemory', '0', 'maxmemory-policy', 'noeviction')
    }
    const state = await open()
    equal(state.durability().refused, undefined)
    equal(state.durability().missing.length, 3)
  })
})
