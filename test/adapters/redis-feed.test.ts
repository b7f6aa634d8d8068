import { deepEqual, equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type NearCache, openNearCache } from '../../src/adapters/near-cache.ts'
import { redisRevocations } from '../../src/adapters/redis-revocations.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { type Change, type LookedUp, type State, Unavailable } from '../../src/core/ports.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { holdsUpFor } from './revocation-stall.ts'

const settings = { size: 1000, ttlMs: 30_000, negativeTtlMs: 2000, maxStaleMs: 0 }
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const revocationsKey = 'postern:default:revocations'
const key = (id: string) => `postern:default:labels:sandbox:${id}`

describe('the feed of changes from Redis', function () {
  this.timeout(20_000)
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.reverse()) await end()
    ends.length = 0
  })

  const open = async (port: number) => {
    const state = await openRedisState({ place: { url: `redis://127.0.0.1:${port}` }, realm: 'default' })
    ends.push(state.close)
    return state
  }
  const start = async (): Promise<RunningRedis> => {
    const redis = await startRedis()
    ends.push(redis.stop)
    return redis
  }
  const nearCache = (state: State): NearCache =>
    openNearCache({ sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]), settings })

  it('has an owner that was changed straight in Redis in force within a second, again and again', async () => {
    const redis = await start()
    const client = redis.client()
    const state = await open(redis.port)
    const cache = nearCache(state)
    for (const owner of ['alice', 'bob', 'carol']) {
      await client.hset(key('s'), 'agentcube.io/owner', owner)
      const changed = performance.now()
      await until(owner, async () => (await cache.labels(undefined, 'sandbox', 's')).labels?.get('agentcube.io/owner') === owner, 1000)
      ok(performance.now() - changed < 1000)
      equal((cache.labels(undefined, 'sandbox', 's') as LookedUp).cache, 'hit')
    }
    await client.flushdb()
    await until('the flush', async () => (await cache.labels(undefined, 'sandbox', 's')).labels === undefined, 1000)
    await client.hset(key('s'), 'agentcube.io/owner', 'dave')
    await until('dave', async () => (await cache.labels(undefined, 'sandbox', 's')).labels?.get('agentcube.io/owner') === 'dave', 1000)
  })

  for (const [what, kind] of [
    ['its own', 'normal'],
    ['the one that hears', 'pubsub'],
  ] as const) {
    it(`makes a new session when a connection is killed: ${what}`, async () => {
      const redis = await start()
      const client = redis.client()
      const state = await open(redis.port)
      const cache = nearCache(state)
      await state.labels.write('sandbox', 's', owned('alice'))
      await cache.labels(undefined, 'sandbox', 's')
      const heard: Change['kind'][] = []
      state.feed.subscribe((change) => heard.push(change.kind))
      await client.call('CLIENT', 'KILL', 'TYPE', kind, 'SKIPME', 'yes')
      await until('a new session', () => heard.includes('labels'), 1000)
      await client.hset(key('s'), 'agentcube.io/owner', 'bob')
      await until('bob', async () => (await cache.labels(undefined, 'sandbox', 's')).labels?.get('agentcube.io/owner') === 'bob', 1000)
    })
  }

  for (const stalled of ['first', 'second'] as const) {
    it(`distrusts when one of its two connections stalls unseen: the ${stalled}`, async () => {
      const redis = await start()
      const proxy = await startStallingProxy(redis.port)
      ends.push(proxy.stop)
      const state = await open(proxy.port)
      const cache = nearCache(state)
      await state.labels.write('sandbox', 's', owned('alice'))
      await cache.labels(undefined, 'sandbox', 's')
      proxy.stall(stalled === 'first' ? 0 : 1)
      // Nothing that was heard up to here may be served for more than a second past this change.
      await redis.client().hset(key('s'), 'agentcube.io/owner', 'bob')
      await sleep(1050)
      let owner: string | undefined
      try {
        owner = (await cache.labels(undefined, 'sandbox', 's')).labels?.get('agentcube.io/owner')
      } catch (error) {
        ok(error instanceof Unavailable)
      }
      ok(owner === undefined || owner === 'bob', `served ${owner}`)
      await until('a new session', () => state.fault() === undefined, 3000)
      equal((await cache.labels(undefined, 'sandbox', 's')).labels?.get('agentcube.io/owner'), 'bob')
    })
  }

  const revoke = (client: ReturnType<RunningRedis['client']>, targets: readonly string[], at = 99_999_999_999) => {
    const pipeline = client.pipeline()
    for (const target of targets) pipeline.xadd(revocationsKey, '*', 'level', 'token', 'target', target, 'at', '1', 'until', String(at))
    return pipeline.exec()
  }

  it('takes one more revocation beside 50,000 without holding up the thread', async () => {
    const redis = await start()
    const client = redis.client()
    const all = Array.from({ length: 50_000 }, (_, i) => `jti-${i}`)
    for (let i = 0; i < all.length; i += 10_000) await revoke(client, all.slice(i, i + 10_000))
    await holdsUpFor(await open(redis.port))
  })

  it('reads revocations from the beginning where the stream may be another than before', async () => {
    const redis = await start()
    const client = redis.client()
    const state = await open(redis.port)
    await revoke(client, ['before'])
    const { cursor } = await state.revocations.list()
    await client.flushdb()
    // Its ids are lower than any that was seen: the clock of the new primary is behind.
    await client.xadd(revocationsKey, '1-1', 'level', 'token', 'target', 'after', 'at', '1', 'until', '99999999999')
    await until(
      'the new stream',
      async () => (await state.revocations.list(cursor)).entries.map(({ target }) => target).join() === 'after',
      1000,
    )
  })

  it('goes on where it was after a broken connection, and begins anew where an entry of that id is another', async () => {
    const redis = await start()
    const client = redis.client()
    const revocations = redisRevocations({ run: (commands) => commands(client) }, revocationsKey)
    const told = async (cursor: string) => {
      const page = await revocations.list(cursor)
      return { targets: page.entries.map(({ target }) => target), cursor: page.cursor }
    }
    await revoke(client, ['one', 'two'])
    let { cursor } = await revocations.list()
    revocations.forget()
    const nothing = await told(cursor)
    deepEqual(nothing.targets, [])
    revocations.forget()
    await revoke(client, ['three'])
    const third = await told(nothing.cursor)
    deepEqual(third.targets, ['three'])
    cursor = third.cursor
    // Another stream, in which somebody else has the id that was read last.
    const id = /^\d+ (\S+) /.exec(cursor)?.[1] ?? ''
    await client.del(revocationsKey)
    await client.xadd(revocationsKey, '1-1', 'level', 'token', 'target', 'earlier', 'at', '1', 'until', '99999999999')
    await client.xadd(revocationsKey, id, 'level', 'token', 'target', 'another', 'at', '1', 'until', '99999999999')
    revocations.forget()
    deepEqual((await told(cursor)).targets, ['earlier', 'another'])
  })

  it('need not begin anew where what it read last has ended meanwhile and is gone', async () => {
    const redis = await start()
    const client = redis.client()
    const revocations = redisRevocations({ run: (commands) => commands(client) }, revocationsKey)
    const add = (target: string, until: number) =>
      client.xadd(revocationsKey, '*', 'level', 'token', 'target', target, 'at', '1', 'until', String(until))
    const told = async (cursor: string) => (await revocations.list(cursor)).entries.map(({ target }) => target)
    const now = Math.floor(Date.now() / 1000)
    for (const target of ['one', 'two', 'three']) await add(target, now + 400 * 86_400)
    const lasting = (await client.xrevrange(revocationsKey, '+', '-', 'COUNT', 1))[0]![0]
    const short = await add('short', now + 300)
    const { cursor } = await revocations.list()
    await add('four', now + 300)
    const later = (await revocations.list(cursor)).cursor
    // As whoever comes across them does, five minutes later.
    await client.xdel(revocationsKey, short!, (await client.xrevrange(revocationsKey, '+', '-', 'COUNT', 1))[0]![0])
    revocations.forget()
    await add('five', now + 300)
    deepEqual([await told(cursor), await told(later)], [['five'], ['five']])
    // Another stream, in which neither stands as it was read.
    await client.del(revocationsKey)
    await client.xadd(revocationsKey, '1-1', 'level', 'token', 'target', 'earlier', 'at', '1', 'until', '99999999999')
    await client.xadd(revocationsKey, lasting, 'level', 'token', 'target', 'another', 'at', '1', 'until', '99999999999')
    revocations.forget()
    deepEqual(await told(later), ['earlier', 'another'])
  })

  it('comes to an end of its reading though others write faster', async () => {
    const redis = await start()
    const client = redis.client()
    const revocations = redisRevocations({ run: (commands) => commands(client) }, revocationsKey)
    const targets = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `jti-${from + i}`)
    await revoke(client, targets(0, 2500))
    const read: string[] = []
    let [cursor, pages, written]: [string | undefined, number, number] = [undefined, 0, 2500]
    for (let more = true; more; pages++) {
      const page = await revocations.list(cursor)
      read.push(...page.entries.map(({ target }) => target))
      await revoke(client, targets(written, written + 1500))
      written += 1500
      cursor = page.cursor
      more = page.more && pages < 20
    }
    // What was there when the first page had been read, and nothing that came later.
    deepEqual([pages, read.length], [3, 2500])
    for (let more = true; more; ) {
      const page = await revocations.list(cursor)
      read.push(...page.entries.map(({ target }) => target))
      cursor = page.cursor
      more = page.more
    }
    deepEqual(read, targets(0, written))
  })

  it('begins anew where the session changed while it was read', async () => {
    const redis = await start()
    const client = redis.client()
    let meanwhile = () => {}
    const link = {
      run: <T>(commands: (redis: typeof client) => Promise<T>) => {
        meanwhile()
        return commands(client)
      },
    }
    const revocations = redisRevocations(link, revocationsKey)
    await revoke(client, ['one'])
    const first = await revocations.list()
    await revoke(client, ['two'])
    meanwhile = revocations.forget
    const second = await revocations.list(first.cursor)
    meanwhile = () => {}
    deepEqual(
      (await revocations.list(second.cursor)).entries.map(({ target }) => target),
      ['one', 'two'],
    )
  })

  it('deletes revocations that concern nothing any more, and passes over what says nothing', async () => {
    const redis = await start()
    const client = redis.client()
    const state = await open(redis.port)
    await revoke(client, ['old-1', 'old-2'], 5)
    await client.xadd(revocationsKey, '*', 'level', 'nonsense')
    await revoke(client, ['new'])
    const { entries, cursor } = await state.revocations.list()
    deepEqual(
      entries.map(({ target }) => target),
      ['new'],
    )
    await until('the deletion', async () => (await client.xlen(revocationsKey)) === 2, 1000)
    deepEqual((await state.revocations.list(cursor)).entries, [])
  })

  it('looks for revocations that have expired since they were read', async () => {
    const redis = await start()
    const client = redis.client()
    const revocations = redisRevocations({ run: (commands) => commands(client) }, revocationsKey, 100)
    await revoke(
      client,
      Array.from({ length: 1500 }, (_, i) => `brief-${i}`),
      Date.now() / 1000 + 1,
    )
    await revoke(client, ['long'])
    const first = await revocations.list()
    deepEqual([first.entries.length, first.more], [1000, true])
    equal(await client.xlen(revocationsKey), 1501)
    await sleep(1100)
    await revocations.list(first.cursor)
    await until('the sweep', async () => (await client.xlen(revocationsKey)) === 1, 1000)
  })

  it('ends with what is in Redis after a storm of changes and look-ups', async () => {
    const redis = await start()
    const client = redis.client()
    const state = await open(redis.port)
    const cache = nearCache(state)
    const ids = Array.from({ length: 20 }, (_, i) => `s${i}`)
    const end = performance.now() + 1500
    const storm = async (work: (id: string, n: number) => Promise<unknown>) => {
      for (let n = 0; performance.now() < end; n++) await work(ids[n % ids.length]!, n)
    }
    await Promise.all([
      storm((id, n) => client.hset(key(id), 'agentcube.io/owner', `owner-${n}`)),
      storm(async (id, n) => void (n % 7 === 0 ? await client.del(key(id)) : await client.ping())),
      ...Array.from({ length: 5 }, () =>
        storm(async (id) => {
          await cache.labels(undefined, 'sandbox', id)
          await new Promise(setImmediate)
        }),
      ),
    ])
    await sleep(100)
    for (const id of ids) {
      const near = await cache.labels(undefined, 'sandbox', id)
      equal(near.labels?.get('agentcube.io/owner') ?? null, await client.hget(key(id), 'agentcube.io/owner'), id)
    }
  })
})

/** Passes connections on to a Redis, until it is told to let one of them (by order of arrival) go silent without closing it. */
async function startStallingProxy(target: number): Promise<{ port: number; stall: (which: number) => void; stop: () => Promise<void> }> {
  const pairs: { near: Socket; far: Socket }[] = []
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    for (const socket of [near, far]) socket.on('error', () => {})
    near.pipe(far)
    far.pipe(near)
    pairs.push({ near, far })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    stall: (which) => {
      const pair = pairs[which]
      pair?.near.unpipe()
      pair?.far.unpipe()
      pair?.near.resume()
      pair?.far.resume()
    },
    stop: async () => {
      for (const { near, far } of pairs) {
        near.destroy()
        far.destroy()
      }
      server.close()
      await once(server, 'close')
    },
  }
}
