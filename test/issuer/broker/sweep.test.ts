import assert from 'node:assert/strict'
import { createMemoryStore, openMemoryState } from '../../../src/adapters/memory-state.ts'
import { startSweeps } from '../../../src/compose/broker-sweeps.ts'
import { countActive, sweeping } from '../../../src/issuer/broker/sweep.ts'
import { until } from '../../support/until.ts'
import { openWorld, type World, worlds } from './world.ts'

const seconds = (world: World): number => Math.floor(world.at.ms / 1000)
const none = { launchTokens: 0, tokens: 0, expiredAgents: 0, removedAgents: 0 }

describe('the sweep of the broker', () => {
  const open = worlds()

  it('takes away launch tokens a minute after their end', async () => {
    const world = await open()
    await world.launch({ ttl: 30 })
    world.at.ms += 60_000
    assert.deepEqual(await world.sweep(seconds(world)), none)
    world.at.ms += 31_000
    assert.deepEqual(await world.sweep(seconds(world)), { ...none, launchTokens: 1 })
  })

  it('goes on behind records that nobody can read', async () => {
    const world = await open()
    const { records } = world.state
    for (let n = 0; n < 450; n++) await world.launch({ ttl: 30 })
    world.at.ms += 120_000
    // A driver leaves out of a page what it cannot read.
    const torn = {
      ...records,
      expired: async (...asked: Parameters<typeof records.expired>) => (await records.expired(...asked)).slice(0, 199),
    }
    const sweep = sweeping({ records: torn, record: async () => {}, revoke: async () => {}, longestLife: () => 86_400 })
    assert.equal((await sweep(seconds(world))).launchTokens, 450)
  })

  it('tells the natural end of a token once, and not of one that was released or renewed', async () => {
    const world = await open()
    const [a, b, c] = [await world.agent(), await world.agent(), await world.agent()]
    await world.renewal.release(b.token, world.at.ms)
    await world.renewal.renew(c.token, world.at.ms)
    world.at.ms += 301_000
    assert.equal((await world.sweep(seconds(world))).tokens, 2)
    assert.equal((await world.sweep(seconds(world))).tokens, 0)
    const told = world.events.filter(({ type }) => type === 'token_expired').map(({ target }) => target)
    assert.equal(told.length, 2)
    assert.ok(told.includes(a.token.id))
    assert.ok(!told.includes(b.token.id) && !told.includes(c.token.id))
  })

  it('expires an agent that nobody has heard of: its tokens are revoked, and it is forgotten a day later', async () => {
    const world = await open({ rules: { idleAfter: 100 } })
    const idle = await world.agent({ ttl: 90 })
    world.at.ms += 60_000
    const busy = await world.agent({ ttl: 90 })
    assert.equal(await countActive(world.state.records, seconds(world)), 2)
    world.at.ms += 41_000
    assert.deepEqual(await world.sweep(seconds(world)), { ...none, expiredAgents: 1, launchTokens: 1, tokens: 1 })
    assert.deepEqual(
      world.revocations.map(({ level, target }) => [level, target]),
      [['agent', idle.id]],
    )
    assert.ok(world.revocations[0]!.until >= idle.token.expiresAt)
    assert.equal((await world.agents.find(idle.id))?.agent.status, 'expired')
    assert.equal(world.read(idle.text), undefined)
    assert.ok(world.read(busy.text))
    const event = world.events.findLast(({ type }) => type === 'agent_expired')
    assert.deepEqual([event?.target, event?.outcome], [idle.id, 'success'])
    assert.equal(await countActive(world.state.records, seconds(world)), 1)
    world.at.ms += 86_401_000
    assert.equal((await world.sweep(seconds(world))).removedAgents, 1)
    assert.equal(await world.agents.find(idle.id), undefined)
  })

  it('leaves an agent alone while its token lives, however long nobody has heard of it: it may be at work', async () => {
    const world = await open({ rules: { idleAfter: 100 } })
    const { id, text } = await world.agent({ ttl: 500 }, { maxTtl: 500 })
    world.at.ms += 499_000
    assert.equal((await world.sweep(seconds(world))).expiredAgents, 0)
    assert.ok(world.read(text))
    assert.ok(await world.agents.findActive(id, seconds(world)))
    world.at.ms += 2_000
    assert.equal((await world.sweep(seconds(world))).expiredAgents, 1)
  })

  it('goes on with an agent whose tokens were not revoked when the one that swept was stopped', async () => {
    const world = await open({ rules: { idleAfter: 100 } })
    const { id } = await world.agent({ ttl: 90 })
    world.at.ms += 101_000
    const stopped = sweeping({
      records: world.state.records,
      record: async () => {},
      revoke: () => Promise.reject(new Error('stopped here')),
      longestLife: () => 1,
    })
    await assert.rejects(stopped(seconds(world)))
    assert.equal((await world.agents.find(id))?.agent.status, 'expiring')
    assert.equal(await world.agents.findActive(id, seconds(world)), undefined)
    world.at.ms += 31_000
    assert.equal((await world.sweep(seconds(world))).expiredAgents, 1)
    assert.equal(world.revocations.length, 1)
  })

  it('is done once, whoever of several replicas sweeps', async () => {
    const store = createMemoryStore()
    const replicas: World[] = []
    for (const _ of [1, 2, 3])
      replicas.push(await openWorld({ state: await openMemoryState({ realm: 'default', store }), rules: { idleAfter: 100 } }))
    try {
      const [first] = replicas as [World]
      for (let i = 0; i < 50; i++) await first.agent()
      const swept = await Promise.all(replicas.map((world) => world.sweep(seconds(first) + 400)))
      const sum = (name: keyof (typeof swept)[0]) => swept.reduce((all, one) => all + one[name], 0)
      assert.deepEqual([sum('launchTokens'), sum('tokens'), sum('expiredAgents')], [50, 50, 50])
      const told = replicas.flatMap(({ events }) => events.filter(({ type }) => type === 'token_expired' || type === 'agent_expired'))
      assert.equal(told.length, 100)
      assert.equal(new Set(told.map(({ target }) => target)).size, 100)
    } finally {
      for (const world of replicas) await world.close()
    }
  })

  it('runs by itself, says in one line what it took away, and counts the active agents', async () => {
    const world = await open()
    await world.agent()
    const lines: object[] = []
    const faults: unknown[] = []
    await world.state.records.write('launch-token', { id: 'old', value: {}, until: 1 }, undefined)
    const sweeps = startSweeps({
      records: world.state.records,
      record: async () => {},
      revoke: async () => {},
      longestLife: () => 1,
      log: { info: (line: object) => void lines.push(line) } as never,
      onFault: (cause) => void faults.push(cause),
      everyMs: 20,
    })
    try {
      await until('a sweep', () => lines.length > 0)
      assert.deepEqual(lines, [{ launch_tokens: 1, tokens: 0, expired_agents: 0, removed_agents: 0, active_agents: 1 }])
      assert.equal(sweeps.activeAgents(), 1)
      sweeps.noteAgent(1)
      assert.ok([1, 2].includes(sweeps.activeAgents()!))
      assert.deepEqual(faults, [])
    } finally {
      sweeps.close()
    }
  })
})
