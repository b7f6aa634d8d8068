import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { openNearCache } from '../../src/adapters/near-cache.ts'
import { openRedisState, type RedisState } from '../../src/adapters/redis-state.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { ownerLedger } from '../support/owner-ledger.ts'
import { type RunningSentinels, type SentinelOptions, startSentinels } from '../support/redis-sentinel.ts'
import { until } from '../support/until.ts'

const settings = { size: 1000, ttlMs: 30_000, negativeTtlMs: 20_000, maxStaleMs: 0 }
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (id: string) => `postern:default:labels:sandbox:${id}`

describe('a Redis that Sentinels watch', function () {
  this.timeout(40_000)
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  const start = async (options?: SentinelOptions): Promise<RunningSentinels> => {
    const running = await startSentinels(options)
    ends.push(running.stop)
    return running
  }
  const open = async ({ name, hosts }: Pick<RunningSentinels, 'name' | 'hosts'>): Promise<RedisState> => {
    const state = await openRedisState({ place: { sentinel: { name, hosts }, tls: false }, realm: 'default' })
    ends.push(state.close)
    return state
  }
  const nearCache = (state: RedisState) => {
    const cache = openNearCache({ sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]), settings })
    return (id: string) => cache.labels(undefined, 'sandbox', id)
  }

  it('reads what was acknowledged, or nothing, when the primary is killed, and goes on with the replica', async () => {
    const running = await start({ flags: ['--min-replicas-to-write', '1', '--repl-ping-replica-period', '1'] })
    const [one, two] = [await open(running), await open(running)]
    equal(one.durability().confirming, 1)
    const list = await openRevocationList({ store: two.revocations, feed: two.feed, maxStalenessMs: 1000 })
    ends.push(async () => list.close())
    const check = (subject: string) => list.check({ subject, issuedAt: 0 }, Date.now())
    const revoke = (target: string) =>
      one.revocations.append({ level: 'subject', target, at: Math.floor(Date.now() / 1000), until: 99_999_999_999 })
    await revoke('early')
    const ledger = ownerLedger()
    const looks = [nearCache(one), nearCache(two)]
    const ids = Array.from({ length: 12 }, (_, i) => `k${i}`)
    for (const id of ids) {
      ledger.write(id, (name) => one.labels.write('sandbox', id, owned(name)), 50)
      for (const look of looks) ledger.read(id, () => look(id), 20)
    }
    await sleep(1000)
    equal(ledger.counts.unavailable, 0)
    const killedAt = performance.now()
    await running.primary.kill()
    await until('all to be answered again', () => ids.every((id) => ledger.answeredAt(id) > killedAt + 1000), 20_000)
    const took = performance.now() - killedAt
    equal(await running.told(), running.replica.port)
    await until('the revocation', () => check('early') === 'revoked' && check('nobody') === 'clear', 5000)
    // It has no replica, and so takes no write until the old one is back as one.
    await running.primary.start()
    await until(
      'writes',
      () =>
        revoke('late').then(
          () => true,
          () => false,
        ),
      20_000,
    )
    await until('the late one', () => check('late') === 'revoked', 1000)
    await sleep(1200)
    await ledger.stop()
    deepEqual(ledger.wrong, [])
    console.log(
      `      answered again ${Math.round(took)} ms after the kill, with down-after-milliseconds of 500; ${JSON.stringify(ledger.counts)}`,
    )
  })

  it('leaves a primary that the Sentinels cannot reach, though it answers here, within a second of their decision', async () => {
    const running = await start({
      lines: ['sentinel auth-user NAME sentinel', 'sentinel auth-pass NAME word'],
      prepare: (redis) => redis.call('ACL', 'SETUSER', 'sentinel', 'on', '>word', '~*', '&*', '+@all'),
    })
    const old = running.primary.client()
    const state = await open(running)
    const look = nearCache(state)
    await state.labels.write('sandbox', 's', owned('alice'))
    equal((await look('s')).labels?.get('agentcube.io/owner'), 'alice')

    // Who is connected stays so, but the Sentinels, which are turned away from now on.
    await old.config('SET', 'requirepass', 'another')
    await old.call('ACL', 'DELUSER', 'sentinel')
    const next = running.replica.client()
    await until(
      'the decision',
      async () => (await running.told(0)) === running.replica.port || (await running.told(1)) === running.replica.port,
      15_000,
    )
    await until('the promotion', async () => (await next.role())[0] === 'master', 1000)
    await next.hset(key('s'), 'agentcube.io/owner', 'bob')
    const decided = performance.now()
    equal(await old.hget(key('s'), 'agentcube.io/owner'), 'alice')
    match(String(await old.info('replication')), /role:master/)
    const late: string[] = []
    while (performance.now() - decided < 3000) {
      try {
        const owner = (await look('s')).labels?.get('agentcube.io/owner') ?? '-'
        if (performance.now() - decided > 1000 && owner !== 'bob') late.push(owner)
      } catch (error) {
        ok(error instanceof Unavailable)
      }
      await sleep(5)
    }
    deepEqual(late, [])
    equal((await look('s')).labels?.get('agentcube.io/owner'), 'bob')
    equal(state.fault(), undefined)
  })

  it('needs more than half of the Sentinels, and no more', async () => {
    const running = await start()
    const state = await open(running)
    const look = nearCache(state)
    await state.labels.write('sandbox', 's', owned('alice'))
    const [first, second] = running.sentinels
    first!.hang()
    await sleep(1500)
    equal((await look('s')).labels?.get('agentcube.io/owner'), 'alice')
    equal(state.fault(), undefined)
    second!.hang()
    await sleep(1700)
    await rejects(async () => look('s'), Unavailable)
    match(state.fault() ?? '', /^Redis primary "mymaster": 1 of 3 Sentinels told where it is, expected 2 \(127\.0\.0\.1:\d+: /)
    first!.resume()
    second!.resume()
    await until('trust', () => state.fault() === undefined, 5000)
    await until('labels', async () => (await look('s')).labels?.get('agentcube.io/owner') === 'alice', 2000)
  })

  it('says what is missing where it cannot begin, and begins once it can', async () => {
    const running = await start()
    const unknown = await open({ ...running, name: 'other' })
    match(
      unknown.fault() ?? '',
      /^Redis primary "other": 0 of 3 Sentinels told where it is, expected 2 \(.*it knows no primary called "other"/,
    )
    const nobody = await open({ ...running, hosts: ['127.0.0.1:1'] })
    match(nobody.fault() ?? '', /^Redis primary "mymaster": 0 of 1 Sentinels told where it is, expected 1 \(127\.0\.0\.1:1: ECONNREFUSED\)/)
    await rejects(async () => nobody.labels.read('sandbox', 's'), Unavailable)
    for (const sentinel of running.sentinels)
      await sentinel.client().call('SENTINEL', 'MONITOR', 'other', '127.0.0.1', running.primary.port, '2')
    await until('the other name', () => unknown.fault() === undefined, 5000)
  })
})
