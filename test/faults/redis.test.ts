import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { freePort } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { type FaultEdge, policyOf, secrets, startFaultEdge } from './edge.ts'
import { type Ask, type Shot, startLoad } from './load.ts'
import { startProxy, type TcpProxy } from './proxy.ts'

/** Requests a second, of five kinds. */
const rate = 200
/** `revocation.max_staleness` of the policy, in milliseconds. */
const maxStaleness = 2000
/** What an owner that changed, or Redis that went, may take to be noticed, in milliseconds. */
const noticed = 1000

const label = 'agentcube.io/owner'
const labelsOf = (id: string) => `postern:default:labels:sandbox:${id}`
const sandbox = '/v1/sandboxes/s1/run'
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

/** Nothing is lost when it is killed; with many keys it takes its time to load them. */
const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--key-load-delay', '300']

describe('Redis that fails under load', function () {
  this.timeout(60_000)
  let redis: RunningRedis
  let proxy: TcpProxy
  let platform: Redis
  let edge: FaultEdge
  let asks: readonly Ask[]

  before(async () => {
    redis = await startRedis(durable)
    proxy = await startProxy(redis.port)
    platform = redis.client()
    await platform.hset(labelsOf('s1'), label, 'alice')
    await platform.set('session:x1', JSON.stringify({ ownerId: 'alice' }))
    edge = await startFaultEdge(policyOf('redis.yaml', { redis: proxy.port }))
    const [alice, bob] = [bearer(await edge.token('alice')), bearer(await edge.token('bob'))]
    asks = [
      { name: 'owner', path: sandbox, headers: alice },
      { name: 'intruder', path: sandbox, headers: bob },
      { name: 'session intruder', path: '/v1/sandboxes/x1/session', headers: bob },
      { name: 'plain', path: '/v1/sandboxes', headers: alice },
      { name: 'public', path: '/healthz' },
    ]
  })
  after(async () => {
    await edge?.stop()
    await proxy?.stop()
    await redis?.stop()
  })

  interface Course {
    readonly shots: readonly Shot[]
    /** The fault begins … */
    readonly breakingAt: number
    /** … and has happened. */
    readonly brokenAt: number
    readonly mendedAt: number
  }

  /** Load, a fault in the middle of it, both refusals, and the recovery. */
  async function live(name: string, breakIt: () => unknown, mend: () => unknown): Promise<Course> {
    const load = startLoad(edge.port, rate, asks)
    const first = (what: string, is: (shot: Shot) => boolean, limit: number) => until(what, () => load.shots.find(is), limit)
    await sleep(1000)
    const breakingAt = performance.now()
    await breakIt()
    const brokenAt = performance.now()
    const owner = await first(
      'owner_unavailable',
      (s) => s.ask === 'owner' && s.reason === 'owner_unavailable' && s.sentAt > breakingAt,
      3000,
    )
    const all = await first(
      'revocation_unavailable',
      (s) => s.ask === 'plain' && s.reason === 'revocation_unavailable' && s.sentAt > breakingAt,
      maxStaleness + 2000,
    )
    await sleep(700)
    const mendedAt = performance.now()
    await mend()
    const well = await first('recovery', (s) => s.ask === 'owner' && s.status === 200 && s.sentAt > mendedAt, 8000)
    await sleep(300)
    const shots = await load.stop()
    const ms = (at: number, since: number) => `${Math.round(at - since)} ms`
    console.log(
      `      ${name}: ${shots.length} requests; owner_unavailable after ${ms(owner.doneAt, brokenAt)}, revocation_unavailable after ${ms(
        all.doneAt,
        brokenAt,
      )}, well again ${ms(well.doneAt, mendedAt)} after it was`,
    )
    return { shots, breakingAt, brokenAt, mendedAt }
  }

  /** What holds whatever way Redis fails. */
  async function judge({ shots, breakingAt, brokenAt, mendedAt }: Course): Promise<void> {
    const of = (ask: string, from = 0, to = Number.POSITIVE_INFINITY) =>
      shots.filter((shot) => shot.ask === ask && shot.sentAt >= from && shot.doneAt <= to)
    const outcomes = (list: readonly Shot[]) => [...new Set(list.map(({ status, reason }) => `${status} ${reason}`))].sort()
    const within = (list: readonly Shot[], allowed: readonly string[]) => {
      assert.ok(list.length > 0, 'there were such requests')
      assert.deepEqual(
        outcomes(list).filter((outcome) => !allowed.includes(outcome)),
        [],
      )
    }
    const [noOwner, noRevocation] = ['503 owner_unavailable', '503 revocation_unavailable']
    // No wrong allow, at any time.
    within([...of('intruder'), ...of('session intruder')], ['403 not_owner', noOwner, noRevocation])
    within(of('owner'), ['200 ok', noOwner, noRevocation])
    // Public routes do not care.
    within(of('public'), ['200 ok'])
    // Before the fault all is well …
    within(of('owner', 0, breakingAt), ['200 ok'])
    within(of('intruder', 0, breakingAt), ['403 not_owner'])
    within(of('plain', 0, breakingAt), ['200 ok'])
    // … routes that need no owner go on until max_staleness, and not longer …
    within(of('plain', 0, breakingAt + maxStaleness - 800), ['200 ok'])
    within(of('plain', brokenAt + maxStaleness + 200, mendedAt), [noRevocation])
    // … and those of owners at most until the loss must have been noticed.
    within(of('owner', brokenAt + noticed, mendedAt), [noOwner, noRevocation])
    within(of('owner', brokenAt + maxStaleness + 200, mendedAt), [noRevocation])
    for (const reason of ['owner_unavailable', 'revocation_unavailable']) {
      const { decisionId } = shots.find((shot) => shot.reason === reason)!
      const line = await edge.envoy.logLine({ decision_id: decisionId })
      assert.deepEqual([line['status'], line['decision'], line['reason'], line['details']], [503, 'deny', reason, 'ext_authz_denied'])
    }
  }

  it('killed and started again', async () => {
    await judge(await live('killed', redis.kill, redis.start))
  })

  it('hanging, and going on', async () => {
    await judge(await live('hanging', redis.hang, redis.resume))
  })

  it('half-open, while the owner changes behind its back', async () => {
    let changedAt = 0
    const breakIt = async () => {
      proxy.stall()
      await platform.hset(labelsOf('s1'), label, 'bob')
      changedAt = performance.now()
    }
    const mend = async () => {
      await platform.hset(labelsOf('s1'), label, 'alice')
      proxy.forward()
    }
    const course = await live('half-open', breakIt, mend)
    await judge(course)
    const late = course.shots.filter(
      ({ ask, status, sentAt, doneAt }) => ask === 'owner' && status === 200 && sentAt > changedAt + noticed && doneAt < course.mendedAt,
    )
    assert.deepEqual(late, [], 'the owner of before was let through')
  })

  it('killed, and LOADING for long', async () => {
    const filler = platform.pipeline()
    for (let i = 0; i < 12_000; i++) filler.set(`filler:${i}`, 'x')
    await filler.exec()
    const before = edge.postern.logs().length
    let loaded: Promise<void> | undefined
    const restart = async () => {
      await redis.kill()
      loaded = redis.start()
    }
    await judge(await live('LOADING', restart, () => loaded))
    const faults = edge.postern.logs().slice(before)
    assert.ok(
      faults.some(({ fault }) => String(fault).endsWith('it answered LOADING')),
      `LOADING was never met: ${JSON.stringify(faults.map(({ fault }) => fault))}`,
    )
  })

  it('an owner changed straight in Redis while it is cached: in force within 1 s', async () => {
    const [alice, bob] = [bearer(await edge.token('alice')), bearer(await edge.token('bob'))]
    const status = async (path: string, headers: Record<string, string>) => (await request({ port: edge.port, path, headers })).status
    const measure = async (path: string, write: (owner: string) => Promise<unknown>): Promise<number[]> => {
      const took: number[] = []
      for (let i = 0; i < 10; i++) {
        const [before, after, owner] = i % 2 === 0 ? [alice, bob, 'bob'] : [bob, alice, 'alice']
        await until('the owner of before', async () => (await status(path, before)) === 200)
        assert.equal(await status(path, before), 200, 'answered from the cache')
        assert.equal(await status(path, after), 403)
        const wroteAt = performance.now()
        await write(owner)
        await until('the new owner', async () => (await status(path, before)) === 403 && (await status(path, after)) === 200, 3000)
        took.push(performance.now() - wroteAt)
      }
      return took
    }
    const kinds = {
      HSET: await measure(sandbox, (owner) => platform.hset(labelsOf('s1'), label, owner)),
      'SET of a json source': await measure('/v1/sandboxes/x1/session', (owner) =>
        platform.set('session:x1', JSON.stringify({ ownerId: owner })),
      ),
    }
    for (const [kind, took] of Object.entries(kinds)) {
      const worst = Math.max(...took)
      console.log(`      ${kind}: in force after ${took.map((ms) => Math.round(ms)).join(', ')} ms`)
      assert.ok(worst < noticed, `${kind} took ${worst} ms`)
    }
  })
})

describe('Redis that is not there at the start', function () {
  this.timeout(30_000)

  it('does not stop the start: /readyz says why not, and without a restart all is well once it comes', async () => {
    const port = await freePort()
    let redis: RunningRedis | undefined
    let edge: FaultEdge | undefined
    try {
      edge = await startFaultEdge(policyOf('redis.yaml', { redis: port }), async (policy, { admin }) => {
        const starting = startPostern(policy, { env: secrets })
        starting.catch(() => {})
        const ask = (path: string) =>
          fetch(`http://${admin}${path}`).then(
            async (response) => ({ status: response.status, body: (await response.json()) as Record<string, unknown> }),
            () => undefined,
          )
        await until('/livez', async () => (await ask('/livez'))?.status === 200)
        const unready = await ask('/readyz')
        assert.deepEqual(unready, { status: 503, body: { status: 'not_ready', reasons: ['the issuer has no key that signs'] } })
        redis = await startRedis([], port)
        return starting
      })
      assert.equal((await fetch(`http://${edge.at.admin}/readyz`)).status, 200)
      await redis!.client().hset(labelsOf('s1'), label, 'alice')
      const headers = bearer(await edge.token('alice'))
      const { port: listener } = edge
      await until('an allow', async () => (await request({ port: listener, path: sandbox, headers })).status === 200)
    } finally {
      await edge?.stop()
      await redis?.stop()
    }
  })
})
