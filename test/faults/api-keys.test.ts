import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { makeApiKey } from '../../src/core/api-key.ts'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { openAsker } from './asker.ts'
import { type FaultEdge, policyOf, secrets, startFaultEdge } from './edge.ts'
import { type Ask, type Load, type Shot, startLoad } from './load.ts'

/** Milliseconds that are promised for a new and for a revoked key. */
const promised = 1000
/** `revocation.max_staleness` of the policy, in milliseconds. */
const maxStaleness = 2000
/** Requests a second on each replica. */
const rate = 200
const path = '/v1/sandboxes'
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

interface Made {
  readonly id: string
  readonly key: string
}

async function make(admin: AdminClient, body: object = {}): Promise<Made> {
  const answer = await admin.call('POST', '/v1/api-keys', { owner: 'acme', ...body })
  const text = await answer.text()
  assert.equal(answer.status, 201, text)
  return JSON.parse(text) as Made
}

describe('API keys on two replicas behind Envoys, under load', function () {
  this.timeout(120_000)
  let redis: RunningRedis
  const replicas: FaultEdge[] = []
  const admins: AdminClient[] = []
  const secretsSeen: string[] = []
  let asks: readonly Ask[]
  let steady: Made
  let loads: readonly Load[] = []

  before(async () => {
    redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
    for (let i = 0; i < 2; i++) {
      replicas.push(await startFaultEdge(policyOf('api-keys.yaml', { state: `redis://127.0.0.1:${redis.port}/0`, workers: 1 })))
      admins.push(await adminClient(replicas[i]!.at.admin))
    }
    steady = await make(admins[0]!, { name: 'steady' })
    secretsSeen.push(steady.key)
    await until('the key on the other replica', async () => (await ask(1, steady.key)).reason === 'ok', promised)
  })
  after(async () => {
    await Promise.all(loads.map(({ stop }) => stop()))
    for (const replica of replicas) await replica.stop()
    await redis?.stop()
  })

  const ask = async (replica: number, key: string): Promise<{ readonly reason: string; readonly sentAt: number }> => {
    const sentAt = performance.now()
    const { status, body } = await request({ port: replicas[replica]!.port, path, headers: { 'x-api-key': key } })
    return { reason: status === 200 ? 'ok' : String((JSON.parse(String(body)) as { reason?: string }).reason), sentAt }
  }
  const startLoads = async (): Promise<void> => {
    loads = await Promise.all(
      replicas.map(async (replica) => {
        asks = [
          { name: 'user', path, headers: bearer(await replica.token('alice')) },
          { name: 'key', path, headers: bearer(steady.key) },
          { name: 'key in x-api-key', path, headers: { 'x-api-key': steady.key } },
          { name: 'never made', path, headers: bearer(makeApiKey()) },
          { name: 'public', path: '/healthz' },
        ]
        return startLoad(replica.port, rate, asks)
      }),
    )
  }
  const outcomes = (shots: readonly Shot[], name: string): string[] => [
    ...new Set(shots.filter((shot) => shot.ask === name).map(({ status, reason }) => `${status} ${reason}`)),
  ]

  /** Milliseconds after `since` from which on a replica answers so; it never answers otherwise again. */
  async function settles(replica: number, key: string, reason: string, since: number): Promise<number> {
    const first = await until(
      `${reason} on replica ${replica}`,
      async () => {
        const answer = await ask(replica, key)
        return answer.reason === reason && answer
      },
      3 * promised,
    )
    for (let i = 0; i < 3; i++) assert.equal((await ask(replica, key)).reason, reason, 'it stays so')
    return first.sentAt - since
  }

  it('are usable within 1 s of being made and refused within 1 s of being revoked, and disturb no other request', async () => {
    await startLoads()
    await sleep(500)
    const took = { made: [] as number[], revoked: [] as number[] }
    for (let round = 0; round < 12; round++) {
      const [one, other] = [admins[round % 2]!, admins[(round + 1) % 2]!]
      const { id, key } = await make(one, { name: `round ${round}`, role: 'sandbox:manage' })
      const madeAt = performance.now()
      secretsSeen.push(key)
      took.made.push(...(await Promise.all([0, 1].map((replica) => settles(replica, key, 'ok', madeAt)))))
      const by = round % 3 === 0 ? one : other
      const answer =
        round % 2 === 0 ? await by.call('DELETE', `/v1/api-keys/${id}`) : await by.call('POST', '/v1/revoke', { level: 'key', target: id })
      assert.ok(answer.ok, await answer.text())
      const revokedAt = performance.now()
      took.revoked.push(...(await Promise.all([0, 1].map((replica) => settles(replica, key, 'revoked', revokedAt)))))
    }
    const shots = await Promise.all(loads.map(({ stop }) => stop()))
    loads = []
    const range = (times: readonly number[]) => `${Math.max(0, Math.round(Math.min(...times)))} to ${Math.round(Math.max(...times))} ms`
    console.log(
      `      ${took.made.length} times each: made, and usable after ${range(took.made)}; revoked, and refused after ${range(took.revoked)}`,
    )
    for (const ms of [...took.made, ...took.revoked]) assert.ok(ms <= promised, `${ms} ms`)
    for (const [i, of] of shots.entries()) {
      console.log(`      replica ${i}: ${of.length} other requests`)
      for (const name of ['user', 'key', 'key in x-api-key', 'public']) assert.deepEqual(outcomes(of, name), ['200 ok'], `${name} on ${i}`)
      assert.deepEqual(outcomes(of, 'never made'), ['401 invalid_credential'])
    }
  })

  it('are refused together with their subject, and by their id as a token', async () => {
    const [mine, theirs] = [await make(admins[0]!, { owner: 'mallory' }), await make(admins[0]!, { owner: 'mallory' })]
    await until('both keys', async () => (await ask(1, mine.key)).reason === 'ok' && (await ask(1, theirs.key)).reason === 'ok', promised)
    await admins[1]!.revoke('token', mine.id)
    await settles(0, mine.key, 'revoked', performance.now())
    assert.equal((await ask(0, theirs.key)).reason, 'ok')
    await admins[1]!.revoke('subject', 'key:mallory')
    await settles(0, theirs.key, 'revoked', performance.now())
    // One that is made later is that subject's, too.
    const later = await make(admins[0]!, { owner: 'mallory' })
    assert.equal((await ask(0, later.key)).reason, 'revoked')
  })

  it('tell when they were last used, on every replica', async () => {
    const { id, key } = await make(admins[0]!, { owner: 'used' })
    const used = async (admin: AdminClient) =>
      ((await (await admin.call('GET', `/v1/api-keys/${id}`)).json()) as Record<string, string | null>)['last_used_at']
    assert.equal(await used(admins[1]!), null)
    const before = Date.now()
    assert.equal((await ask(0, key)).reason, 'ok')
    const told = await until('the note', async () => (await used(admins[1]!)) ?? false, 5000)
    assert.ok(Math.abs(Date.parse(told) - before) < 2000)
  })

  it('expire to the second', async () => {
    const { key } = await make(admins[0]!, { expires_in: 2 })
    assert.equal((await ask(0, key)).reason, 'ok')
    await until('its end', async () => (await ask(0, key)).reason === 'expired_credential', 4000)
  })

  it('are not believed once Redis was gone for longer than max_staleness, and are again when it is back', async () => {
    await startLoads()
    await sleep(500)
    const revoked = await make(admins[0]!, { owner: 'before' })
    secretsSeen.push(revoked.key)
    await admins[1]!.call('DELETE', `/v1/api-keys/${revoked.id}`)
    await redis.kill()
    const goneAt = performance.now()
    const first = await until(
      'identity_unavailable on both replicas',
      () => {
        const found = loads.map(({ shots }) => shots.find((shot) => shot.ask === 'key' && shot.reason === 'identity_unavailable'))
        return found.every((shot) => shot !== undefined) && (found as Shot[])
      },
      maxStaleness + 3000,
    )
    const refusedNow = await admins[0]!.call('POST', '/v1/api-keys', { owner: 'a' })
    assert.equal(refusedNow.status, 503)
    assert.equal((await admins[0]!.call('GET', '/v1/api-keys')).status, 503)
    // Long enough for checks that begin well after max_staleness.
    await sleep(Math.max(0, goneAt + maxStaleness + 300 - performance.now()) + 1000)
    const backAt = performance.now()
    await redis.start()
    await until(
      'both to be well again',
      () => loads.every(({ shots }) => shots.some((s) => s.ask === 'key' && s.status === 200 && s.sentAt > backAt)),
      8000,
    )
    await sleep(500)
    const shots = await Promise.all(loads.map(({ stop }) => stop()))
    loads = []
    for (const [i, of] of shots.entries()) {
      console.log(`      replica ${i}: identity_unavailable ${Math.round(first[i]!.sentAt - goneAt)} ms after Redis was gone`)
      const keyed = of.filter(({ ask }) => ask === 'key')
      // Before that all was as always, and from then on nothing was believed.
      const early = keyed.filter(({ doneAt }) => doneAt < goneAt + maxStaleness - 800)
      assert.deepEqual(outcomes(early, 'key'), ['200 ok'])
      const late = keyed.filter(({ sentAt, doneAt }) => sentAt > goneAt + maxStaleness + 300 && doneAt < backAt)
      assert.ok(late.length > 0)
      assert.deepEqual(outcomes(late, 'key'), ['503 identity_unavailable'])
      for (const outcome of outcomes(of, 'never made'))
        assert.ok(['401 invalid_credential', '503 identity_unavailable'].includes(outcome), outcome)
      assert.deepEqual(outcomes(of, 'public'), ['200 ok'])
    }
    for (const replica of [0, 1]) {
      assert.equal((await ask(replica, steady.key)).reason, 'ok')
      assert.equal((await ask(replica, revoked.key)).reason, 'revoked')
    }
  })

  it('never show in a log, nor at rest', async () => {
    const logs = replicas.map(({ postern }) => [...postern.program.stdout, ...postern.program.stderr].join('\n')).join('\n')
    assert.match(logs, /"reason":"revoked"/)
    for (const key of secretsSeen)
      assert.ok(!logs.includes(key.slice(12)) && !logs.includes(createHash('sha256').update(key).digest('hex')))
    const client = redis.client()
    const stored = JSON.stringify([
      await client.xrange('postern:default:api-keys', '-', '+'),
      await client.xrange('postern:default:audit', '-', '+').catch(() => []),
    ])
    for (const key of secretsSeen) assert.ok(!stored.includes(key.slice(12)))
    assert.ok(stored.includes(createHash('sha256').update(steady.key).digest('hex')))
  })
})

describe('API keys in several worker processes', function () {
  this.timeout(60_000)

  it('are in force, and revoked, in each of them within 1 s, and survive a restart', async () => {
    const folder = temporaryFolder()
    const [adminPort, issuer] = await freePorts(2)
    const at = `127.0.0.1:${adminPort}`
    const check = `unix:${folder.file('check.sock')}`
    const state = `file:${folder.file('postern.db')}`
    const policy = policyOf('api-keys.yaml', { check, admin: at, issuer: `127.0.0.1:${issuer}`, state, workers: 2 })
    let service = await startPostern(policy, { env: secrets, folder })
    let askers = Array.from({ length: 6 }, () => openAsker(check))
    try {
      const answers = (key: string) => Promise.all(askers.map(({ ask }) => ask(path, key)))
      const settled = async (key: string, reason: string): Promise<number> => {
        const since = performance.now()
        await until(`${reason} everywhere`, async () => (await answers(key)).every((one) => one === reason), 3000)
        return performance.now() - since
      }
      const admin = await adminClient(at)
      const took: number[] = []
      const kept = await make(admin)
      for (let i = 0; i < 3; i++) {
        const { id, key } = await make(admin)
        took.push(await settled(key, 'ok'))
        assert.equal((await admin.call('DELETE', `/v1/api-keys/${id}`)).status, 204)
        took.push(await settled(key, 'revoked'))
      }
      console.log(`      ${took.map((ms) => Math.round(ms)).join(', ')} ms`)
      for (const ms of took) assert.ok(ms <= promised, `${ms} ms`)
      for (const { close } of askers) close()
      await service.stop()
      service = await startPostern(policy, { env: secrets, folder })
      askers = Array.from({ length: 4 }, () => openAsker(check))
      assert.deepEqual([...new Set(await answers(kept.key))], ['ok'])
    } finally {
      for (const { close } of askers) close()
      await service.stop()
      folder.remove()
    }
  })
})
