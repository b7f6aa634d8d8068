import assert from 'node:assert/strict'
import { type World, worlds } from './world.ts'

const last = (world: World) => world.events.at(-1)

describe("an agent's token", () => {
  const open = worlds()

  it('is read where it is one of the edge, with the right audience, and neither expired nor revoked', async () => {
    const world = await open()
    const { text, token } = await world.agent()
    assert.ok(world.read(text))
    assert.equal(world.present(text, { kind: 'edge', audience: 'other' }, world.at.ms), undefined)
    assert.equal(world.present(text, { kind: 'app', audience: 'postern' }, world.at.ms), undefined)
    const order = { audience: 'postern', subject: token.subject, scopes: [], ttl: 300, now: world.at.ms }
    for (const kind of ['upstream', 'app', 'refresh'] as const)
      assert.equal(world.read(world.mint.ordered({ ...order, kind }).token), undefined)
    assert.equal(world.read(world.mint.admin('admin', world.at.ms).token), undefined)
    assert.equal(world.read(`${text}x`), undefined)
    // What is bound to a key cannot be proved here.
    assert.equal(
      world.read(world.mint.ordered({ ...order, kind: 'edge', confirmation: { jkt: 'x'.repeat(43), x5tS256: undefined } }).token),
      undefined,
    )
    world.at.ms += 300_000
    assert.equal(world.read(text), undefined)
  })

  it('of a clock that is ahead, or that has just ended, is refused and counted', async () => {
    const world = await open()
    const ahead = world.mint.ordered({
      kind: 'edge',
      audience: 'postern',
      subject: 'x',
      scopes: [],
      ttl: 300,
      now: world.at.ms + 3_600_000,
    })
    assert.equal(world.read(ahead.token), undefined)
    assert.equal(world.counts.skews, 1)
    const { text } = await world.agent()
    world.at.ms += 310_000
    assert.equal(world.read(text), undefined)
    assert.equal(world.counts.skews, 2)
    world.at.ms += 3_600_000
    assert.equal(world.read(text), undefined)
    assert.equal(world.counts.skews, 2)
  })

  describe('renewed', () => {
    it('is a fresh one with the same rights, and the old one is revoked', async () => {
      const world = await open()
      const { id, text, token } = await world.agent({ ttl: 100, scopes: ['read:data:x', 'read:data:y'] })
      world.at.ms += 90_000
      const renewed = await world.renewal.renew(token, world.at.ms)
      assert.equal(renewed.kind, 'renewed')
      const next = world.read(renewed.kind === 'renewed' ? renewed.minted.token : '')
      assert.deepEqual(
        [next?.subject, next?.scopes, next?.roles, next?.task, next?.orchestration],
        [id, token.scopes, token.roles, 'task-1', 'orch-1'],
      )
      assert.equal(next!.expiresAt - next!.issuedAt, 100)
      assert.equal(world.read(text), undefined)
      const found = await world.agents.find(id)
      assert.equal(found?.agent.lastSeen, Math.floor(world.at.ms / 1000))
      assert.equal(await world.state.records.read('token', token.id), undefined)
    })

    it('is given to one of many that ask at once', async () => {
      const world = await open()
      const { token } = await world.agent()
      const answers = await Promise.all(Array.from({ length: 50 }, () => world.renewal.renew(token, world.at.ms)))
      assert.equal(answers.filter(({ kind }) => kind === 'renewed').length, 1)
    })

    it('is refused for a token that was renewed already, for a delegated one, and for an agent that is over', async () => {
      const world = await open()
      const { token } = await world.agent()
      const renewed = await world.renewal.renew(token, world.at.ms)
      const next = world.read(renewed.kind === 'renewed' ? renewed.minted.token : '')!
      assert.deepEqual(await world.renewal.renew(token, world.at.ms), { kind: 'refused', reason: 'invalid_token' })
      assert.equal(last(world)?.reason, 'not_the_last_token')
      const narrower = await world.delegate(next, { scopes: ['read:data:x'], ttl: undefined, agentId: undefined }, world.at.ms)
      const own = world.read(narrower.kind === 'delegated' ? narrower.minted.token : '')!
      assert.equal((await world.renewal.renew(own, world.at.ms)).kind, 'refused')
      await world.renewal.release(next, world.at.ms)
      assert.equal((await world.renewal.renew(next, world.at.ms)).kind, 'refused')
      assert.equal(last(world)?.reason, 'agent_not_active')
      assert.equal(last(world)?.type, 'token_refused')
    })

    it('is refused where the app that let it in was removed, and where nobody has heard of it for too long', async () => {
      const world = await open({ rules: { idleAfter: 60 } })
      const { app } = await world.apps.create({ name: 'crawler', scopes: ['read:data:*'], tokenTtl: undefined }, 'admin')
      const order = { agentName: 't', allowedScope: ['read:data:x'], maxTtl: 300, singleUse: false, ttl: 30 }
      const made = await world.launchTokens.create(order, app.id, app)
      const registered = await world.register(world.registration(made!.token))
      const token = world.read(registered.kind === 'registered' ? registered.minted.token : '')!
      await world.apps.update(app.id, { scopes: ['read:data:y'] }, 'admin')
      assert.equal((await world.renewal.renew(token, world.at.ms)).kind, 'refused')
      assert.equal(last(world)?.reason, 'scope_outside_ceiling')
      await world.apps.remove(app.id, 'admin')
      assert.equal((await world.renewal.renew(token, world.at.ms)).kind, 'refused')
      assert.equal(last(world)?.reason, 'app_removed')
      const idle = await world.agent({ ttl: 50 })
      world.at.ms += 60_000
      assert.equal((await world.renewal.renew(idle.token, world.at.ms)).kind, 'refused')
    })
  })

  describe('released', () => {
    it('is revoked, and so told: the agent renews and delegates nothing any more', async () => {
      const world = await open()
      const { id, text, token } = await world.agent()
      world.at.ms += 5_000
      await world.renewal.release(token, world.at.ms)
      assert.equal(world.read(text), undefined)
      assert.deepEqual(last(world), {
        type: 'token_released',
        outcome: 'success',
        actor: id,
        target: token.id,
        detail: { subject: id, held_seconds: 5 },
      })
      assert.equal((await world.agents.find(id))?.agent.status, 'released')
      assert.equal(world.counts.released, 1)
      const narrower = await world.delegate(token, { scopes: ['read:data:x'], ttl: undefined, agentId: undefined }, world.at.ms)
      assert.deepEqual(narrower, { kind: 'refused', reason: 'invalid_token' })
      // Twice says the same.
      await world.renewal.release(token, world.at.ms)
      assert.equal(world.counts.released, 1)
    })

    it('takes with it what was delegated before, for as long as that could live', async () => {
      const world = await open()
      const { id, token } = await world.agent({ ttl: 200 })
      const other = await world.agent()
      const given = await world.delegate(token, { scopes: ['read:data:x'], ttl: undefined, agentId: other.id }, world.at.ms)
      assert.ok(given.kind === 'delegated' && world.read(given.minted.token))
      await world.renewal.release(token, world.at.ms)
      assert.equal(world.read(given.minted.token), undefined)
      const at = Math.floor(world.at.ms / 1000)
      assert.deepEqual(
        world.revocations.filter(({ level }) => level === 'agent'),
        [{ level: 'agent', target: id, at, until: at + 200 }],
      )
      assert.ok(world.read(other.text), 'nobody else is touched')
    })

    it('by several at once is told once, of its own token and of one that was delegated', async () => {
      const world = await open()
      const { token } = await world.agent()
      const narrower = await world.delegate(token, { scopes: ['read:data:x'], ttl: undefined, agentId: undefined }, world.at.ms)
      assert.ok(narrower.kind === 'delegated')
      for (const one of [world.read(narrower.minted.token)!, token]) {
        await Promise.all(Array.from({ length: 10 }, () => world.renewal.release(one, world.at.ms)))
        assert.equal(world.events.filter(({ type, target }) => type === 'token_released' && target === one.id).length, 1)
        assert.equal(
          world.revocations.some(({ target }) => target === one.id),
          true,
        )
      }
      assert.equal(world.counts.released, 1)
    })
  })

  describe('delegated', () => {
    it('keeps the subject, puts who acts outermost, and lives no longer', async () => {
      const world = await open()
      const a = await world.agent({ ttl: 200, scopes: ['read:data:*'] })
      const b = await world.agent({ task: 'task-2' })
      world.at.ms += 150_000
      const answer = await world.delegate(a.token, { scopes: ['read:data:p'], ttl: 600, agentId: b.id }, world.at.ms)
      const token = world.read(answer.kind === 'delegated' ? answer.minted.token : '')!
      assert.equal(token.subject, a.id)
      assert.deepEqual(token.actor, { subject: b.id })
      assert.deepEqual(token.scopes, ['read:data:p'])
      assert.equal(token.expiresAt, a.token.expiresAt)
      assert.deepEqual([token.task, token.orchestration], ['task-1', 'orch-1'])
      const issued = world.events.findLast(({ type }) => type === 'token_issued')
      assert.equal(issued?.actor, a.id)
    })

    it('to itself is narrower, without an actor', async () => {
      const world = await open()
      const { token } = await world.agent({ scopes: ['read:data:*'] })
      const answer = await world.delegate(token, { scopes: ['read:data:p'], ttl: 10, agentId: undefined }, world.at.ms)
      const narrower = world.read(answer.kind === 'delegated' ? answer.minted.token : '')!
      assert.deepEqual([narrower.subject, narrower.actor, narrower.scopes], [token.subject, undefined, ['read:data:p']])
      assert.equal(narrower.expiresAt - narrower.issuedAt, 10)
    })

    it('never has more than it came of', async () => {
      const world = await open()
      const { token } = await world.agent({ scopes: ['read:data:x'] })
      for (const scope of ['read:data:*', 'read:data:y', 'read:*', '*', 'write:data:x']) {
        const answer = await world.delegate(token, { scopes: ['read:data:x', scope], ttl: undefined, agentId: undefined }, world.at.ms)
        assert.deepEqual(answer, { kind: 'refused', reason: 'scope_outside_ceiling' })
        assert.deepEqual([last(world)?.type, last(world)?.reason], ['token_refused', 'scope_outside_ceiling'])
      }
    })

    it('goes through five actors at most', async () => {
      const world = await open()
      const first = await world.agent({ scopes: ['read:data:*'] })
      let token = first.token
      for (let depth = 1; depth <= 5; depth++) {
        const next = await world.agent({ task: `task-${depth}` })
        const answer = await world.delegate(token, { scopes: ['read:data:*'], ttl: undefined, agentId: next.id }, world.at.ms)
        token = world.read(answer.kind === 'delegated' ? answer.minted.token : '')!
        assert.equal(token.subject, first.id)
        assert.equal(token.actor?.subject, next.id)
      }
      const sixth = await world.agent({ task: 'task-6' })
      assert.deepEqual(await world.delegate(token, { scopes: ['read:data:x'], ttl: undefined, agentId: sixth.id }, world.at.ms), {
        kind: 'refused',
        reason: 'chain_too_long',
      })
      // For itself the last one may still have less.
      assert.equal(
        (await world.delegate(token, { scopes: ['read:data:x'], ttl: undefined, agentId: undefined }, world.at.ms)).kind,
        'delegated',
      )
    })

    it('goes to a registered agent that is active, and comes from one', async () => {
      const world = await open()
      const a = await world.agent({ scopes: ['read:data:*'] })
      const gone = await world.agent()
      await world.renewal.release(gone.token, world.at.ms)
      for (const agentId of [gone.id, 'spiffe://agents.test/agent/orch-1/task-1/nobody', 'nobody', `${a.id}/x`]) {
        assert.deepEqual(await world.delegate(a.token, { scopes: ['read:data:x'], ttl: undefined, agentId }, world.at.ms), {
          kind: 'refused',
          reason: 'agent_not_active',
        })
      }
      const person = world.mint.edge({
        audience: 'postern',
        subject: 'alice',
        roles: [],
        scopes: ['read:data:*'],
        ttl: 300,
        now: world.at.ms,
      })
      assert.deepEqual(
        await world.delegate(world.read(person.token)!, { scopes: ['read:data:x'], ttl: undefined, agentId: a.id }, world.at.ms),
        { kind: 'refused', reason: 'invalid_token' },
      )
    })

    it("comes of no token that only has the agent's name, such as one of another grant", async () => {
      const world = await open()
      const { id, token } = await world.agent()
      const asked = { scopes: ['read:data:x'], ttl: undefined, agentId: undefined }
      const like = { kind: 'edge', audience: 'postern', subject: id, scopes: ['read:data:x'], ttl: 60, now: world.at.ms } as const
      for (const named of [{}, { task: token.task }, { task: 'other', orchestration: token.orchestration }]) {
        const { token: text } = await world.issue({ ...like, client: undefined, ...named }, { actor: 'crawler', grant: 'token_exchange' })
        assert.deepEqual(await world.delegate(world.read(text)!, asked, world.at.ms), { kind: 'refused', reason: 'invalid_token' })
      }
      assert.equal((await world.delegate(token, asked, world.at.ms)).kind, 'delegated')
    })

    it('goes to no agent that was revoked: it would have a token that is younger than its revocation', async () => {
      const world = await open()
      for (const level of ['agent', 'chain', 'subject'] as const) {
        const [from, to] = [await world.agent(), await world.agent()]
        world.revocations.push({ level, target: to.id, at: 0, until: 0 })
        const asked = { scopes: ['read:data:x'], ttl: undefined, agentId: to.id }
        assert.deepEqual(await world.delegate(from.token, asked, world.at.ms), { kind: 'refused', reason: 'agent_not_active' })
        // Nor does one that asked just before.
        assert.equal((await world.renewal.renew(to.token, world.at.ms)).kind, 'refused')
      }
    })

    it('tells that its holder is there, at most once a minute', async () => {
      const world = await open()
      const { id, token } = await world.agent({ scopes: ['read:data:*'] })
      const began = Math.floor(world.at.ms / 1000)
      const seen = async (): Promise<number> => {
        await world.delegate(token, { scopes: ['read:data:x'], ttl: undefined, agentId: undefined }, world.at.ms)
        return (await world.agents.find(id))!.agent.lastSeen - began
      }
      world.at.ms += 30_000
      assert.equal(await seen(), 0)
      world.at.ms += 40_000
      assert.equal(await seen(), 70)
    })
  })

  it('of an app is good for its calls alone, and needs its secret', async () => {
    const world = await open()
    const { app, secret } = await world.apps.create({ name: 'crawler', scopes: ['read:data:*'], tokenTtl: 120 }, 'admin')
    assert.match(secret, /^[0-9a-f]{64}$/)
    for (const [id, shown] of [
      [app.id, `${secret.slice(1)}0`],
      [app.id, ''],
      ['app-0000000000000000', secret],
      ['\u0000', secret],
    ] as const)
      assert.equal(await world.logIn(id, shown, '', world.at.ms), undefined)
    assert.deepEqual([last(world)?.type, last(world)?.outcome], ['app_login', 'failure'])
    const minted = await world.logIn(app.id, secret, '192.0.2.1', world.at.ms)
    assert.equal(minted!.expiresAt - minted!.issuedAt, 120)
    const token = world.present(minted!.token, { kind: 'app', audience: 'http://127.0.0.1:9193' }, world.at.ms)
    assert.deepEqual([token?.subject, token?.client, token?.scopes], [app.id, app.id, ['app:launch-tokens:*']])
    assert.equal(world.read(minted!.token), undefined)
  })
})
