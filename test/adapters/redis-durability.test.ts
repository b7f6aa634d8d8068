import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { type DurabilityReport, judge, type RedisFacts } from '../../src/adapters/redis-durability.ts'
import { openRedisState, type RedisState } from '../../src/adapters/redis-state.ts'
import { StateRefused } from '../../src/adapters/state-refused.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const durable = ['--appendonly', 'yes', '--appendfsync', 'always']
const now = () => Math.floor(Date.now() / 1000)
const revocation = (target: string) => ({ level: 'token', target, at: now(), until: now() + 600 }) as const

describe('how Redis keeps what it acknowledges', function () {
  this.timeout(30_000)
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.reverse()) await end()
    ends.length = 0
  })
  const start = async (...flags: string[]): Promise<RunningRedis> => {
    // A replica is sent what there is at once, not after five seconds.
    const redis = await startRedis(['--repl-diskless-sync-delay', '0', ...flags])
    ends.push(redis.stop)
    return redis
  }
  const replicaOf = async (primary: RunningRedis, ...flags: string[]): Promise<RunningRedis> => {
    const replica = await start('--replicaof', '127.0.0.1', String(primary.port), ...flags)
    const client = primary.client()
    await until('the replica is connected', async () => /slave0:.*state=online/.test(await client.info('replication')))
    await until('the replica has a write', async () => {
      await client.set('warm', '1').catch(() => {})
      return (await client.wait(1, 100)) === 1
    })
    return replica
  }
  const open = async (url: string, more: { username?: string; password?: string } = {}) => {
    const reports: DurabilityReport[] = []
    const state = await openRedisState({ place: { url, ...more }, realm: 'default', onDurability: (report) => reports.push(report) })
    ends.push(state.close)
    return { state, reports }
  }
  /** Opens, and gives what there is to say. */
  const said = async (...flags: string[]) => (await open((await start(...flags)).url)).state.durability()
  const one = (report: DurabilityReport, expected: RegExp) => {
    equal(report.missing.length, 1, report.missing.join('; '))
    match(report.missing[0]!, expected)
  }

  it('is durable with appendonly, appendfsync always and noeviction', async () => {
    const { state, reports } = await open((await start(...durable)).url)
    const report: DurabilityReport = {
      status: 'True',
      reason: 'Durable',
      missing: [],
      unknown: [],
      refused: undefined,
      confirming: 0,
    }
    deepEqual(state.durability(), report)
    deepEqual(reports, [report])
  })

  it('says that memory alone is lost, and the last seconds, and what a rewrite does', async () => {
    const memory = await said()
    deepEqual([memory.status, memory.reason], ['False', 'MayLoseWrites'])
    one(memory, /^appendonly is no: writes are in memory only/)
    one(await said('--appendonly', 'yes'), /^appendfsync is everysec: .* up to two seconds .*; expected always$/)
    one(await said('--appendonly', 'yes', '--appendfsync', 'no'), /^appendfsync is no: .* any number of/)
    one(await said(...durable, '--no-appendfsync-on-rewrite', 'yes'), /^no-appendfsync-on-rewrite is yes/)
  })

  it('refuses to start with a Redis that may evict everything, where it is bounded', async () => {
    const bounded = await start(...durable, '--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru')
    await rejects(
      open(bounded.url),
      (error: Error) =>
        error instanceof StateRefused &&
        error.message.includes(`127.0.0.1:${bounded.port}`) &&
        error.message.includes('maxmemory-policy is allkeys-lru with maxmemory 104857600') &&
        error.message.endsWith('expected noeviction'),
    )
    equal((await said(...durable, '--maxmemory-policy', 'allkeys-lru')).status, 'True')
    equal((await said(...durable, '--maxmemory', '100mb')).status, 'True')
    const volatile = await said(...durable, '--maxmemory', '100mb', '--maxmemory-policy', 'volatile-lru')
    deepEqual([volatile.status, volatile.reason], ['False', 'MayEvict'])
    one(volatile, /proofs of possession/)
  })

  it('tells of an eviction policy that is set later, and of one that Redis comes back with', async () => {
    const port = await freePort()
    const state = await openRedisState({ place: { url: `redis://127.0.0.1:${port}` }, realm: 'default' })
    ends.push(state.close)
    equal(state.durability().status, 'Unknown')
    const redis = await startRedis([...durable, '--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-random'], port)
    ends.push(redis.stop)
    await until('the report', () => state.durability().reason === 'MayEvict')
    ok(state.durability().refused)
    await redis.client().config('SET', 'maxmemory-policy', 'noeviction')
    await redis.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no')
    await until('the report after a new session', () => state.durability().status === 'True')
  })

  it('learns from INFO what CONFIG may not tell, and says what it cannot know', async () => {
    const redis = await start('--appendonly', 'yes')
    const admin = redis.client()
    await admin.call('ACL', 'SETUSER', 'managed', 'on', '>pw', '~*', '&*', '+@all', '-config')
    await admin.call('ACL', 'SETUSER', 'closed', 'on', '>pw', '~*', '&*', '+@all', '-config', '-info')
    const managed = (await open(redis.url, { username: 'managed', password: 'pw' })).state
    deepEqual(
      { ...managed.durability() },
      {
        status: 'Unknown',
        reason: 'NotTold',
        missing: [],
        unknown: ['appendfsync: expected always'],
        refused: undefined,
        confirming: 0,
      },
    )
    const closed = (await open(redis.url, { username: 'closed', password: 'pw' })).state
    equal(closed.durability().status, 'Unknown')
    equal(closed.durability().unknown.length, 3)
    // Nothing can be known, but everything works.
    await closed.revocations.append(revocation('t'))
    await admin.config('SET', 'maxmemory', '100mb')
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lfu')
    await rejects(open(redis.url, { username: 'managed', password: 'pw' }), StateRefused)
  })

  it('does not take a failed append-only file, or a replica, for well', () => {
    const well: RedisFacts = {
      run: 'r',
      role: 'master',
      appendonly: true,
      appendfsync: 'always',
      rewriteUnsynced: false,
      writeFailing: false,
      replicas: 1,
      minReplicas: 1,
      maxmemory: 0,
      maxmemoryPolicy: 'allkeys-lru',
    }
    deepEqual([judge(well).status, judge(well).confirming], ['True', 1])
    one(judge({ ...well, writeFailing: true }), /aof_last_write_status/)
    one(judge({ ...well, role: 'slave' }), /replica, which takes no writes/)
    equal(judge({ ...well, maxmemory: undefined }).status, 'Unknown')
  })

  describe('with a replica', () => {
    const all = async ({ revocations }: RedisState) => (await revocations.list()).entries.map(({ target }) => target)

    it('says that a failover loses writes unless replicas must have them', async () => {
      const primary = await start(...durable)
      await replicaOf(primary)
      const { state, reports } = await open(primary.url)
      one(state.durability(), /^min-replicas-to-write .* is 0 with 1 replica: a failover loses/)
      await primary.client().config('SET', 'min-replicas-to-write', '1')
      await primary.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no')
      await until('the report', () => state.durability().status === 'True')
      deepEqual([state.durability().confirming, reports.length], [1, 2])
    })

    it('acknowledges nothing that a failover would lose', async () => {
      const primary = await start(...durable, '--min-replicas-to-write', '1', '--min-replicas-max-lag', '10')
      const replica = await replicaOf(primary, ...durable)
      const { state } = await open(primary.url)
      const acknowledged: string[] = []
      let n = 0
      let refused = 0
      let over = false
      const load = Array.from({ length: 8 }, async () => {
        while (!over) {
          const target = `t${n++}`
          try {
            await state.revocations.append(revocation(target))
            acknowledged.push(target)
          } catch (error) {
            ok(error instanceof Unavailable)
            refused += 1
          }
          await new Promise((done) => setTimeout(done, 2))
        }
      })
      await until('writes', () => acknowledged.length > 200)
      // From here on the replica hears nothing, and the primary does not know it yet.
      replica.hang()
      const hungAt = acknowledged.length
      await until('writes that are not confirmed', () => refused > 3)
      ok(acknowledged.length - hungAt <= 16, `${acknowledged.length - hungAt} acknowledged after the replica hung`)
      await primary.kill()
      over = true
      await Promise.all(load)
      replica.resume()
      const promoted = replica.client()
      await promoted.call('REPLICAOF', 'NO', 'ONE')
      const { state: next } = await open(replica.url)
      const there = new Set(await all(next))
      deepEqual(
        acknowledged.filter((target) => !there.has(target)),
        [],
      )
      ok(n > acknowledged.length)
    })

    it('says how many replicas there were where one is too few, and goes on once it is back', async () => {
      const primary = await start(...durable, '--min-replicas-to-write', '1')
      const replica = await replicaOf(primary)
      const { state } = await open(primary.url)
      ok(await state.records.write('app', { id: 'a', value: {}, until: 0 }, undefined))
      replica.hang()
      await rejects(
        state.records.write('app', { id: 'b', value: {}, until: 0 }, undefined),
        (error: Error) => error instanceof Unavailable && /0 of 1 replicas confirmed a write within 400 ms/.test(error.message),
      )
      // What is only read, and what checks ask, waits for no replica.
      const began = performance.now()
      equal(await state.labels.read('sandbox', 's'), undefined)
      await state.replays.claim('p', now() + 60)
      ok(performance.now() - began < 200)
      replica.resume()
      await until('a confirmed write', () =>
        state.records.write('app', { id: `c${Math.random()}`, value: {}, until: 0 }, undefined).catch(() => undefined),
      )
      await replica.kill()
      await until('Redis refuses', async () => {
        const error = await state.revocations.append(revocation('x')).catch((error: unknown) => error)
        return error instanceof Unavailable && /NOREPLICAS/.test(error.message)
      })
    })

    it('confirms many writes at once', async () => {
      const primary = await start(...durable, '--min-replicas-to-write', '1')
      await replicaOf(primary)
      const { state } = await open(primary.url)
      const began = performance.now()
      const writes = Array.from({ length: 200 }, (_, i) => state.records.write('token', { id: `t${i}`, value: {}, until: 0 }, undefined))
      ok((await Promise.all(writes)).every((revision) => revision !== undefined))
      const waits = /cmdstat_wait:calls=(\d+)/.exec(await primary.client().info('commandstats'))?.[1]
      ok(Number(waits) >= 1 && Number(waits) < 20, `${waits} WAITs for 200 writes`)
      ok(performance.now() - began < 2000)
    })
  })
})
