import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { Unavailable } from '../../../src/core/ports.ts'
import { parseSpiffeId } from '../../../src/core/spiffe.ts'
import { agentKeys } from '../../support/broker.ts'
import { openWorld, type World, worlds } from './world.ts'

const reasonOf = (world: World) => world.events.findLast(({ type }) => type === 'agent_registered')?.reason

describe('registration with the broker', () => {
  const open = worlds()

  it('lets an agent in, whose token is for the edge and says who it is', async () => {
    const world = await open()
    const { id, token } = await world.agent({ scopes: ['read:data:x', 'read:data:x', 'read:data:y'] })
    assert.match(id, /^spiffe:\/\/agents\.test\/agent\/orch-1\/task-1\/[0-9a-f-]{36}$/)
    assert.ok(parseSpiffeId(id))
    assert.equal(token.typ, 'at+jwt')
    assert.equal(token.subject, id)
    assert.deepEqual(token.audience, ['postern'])
    assert.deepEqual(token.scopes, ['read:data:x', 'read:data:y'])
    assert.deepEqual(token.roles, ['agent'])
    assert.deepEqual([token.task, token.orchestration, token.client], ['task-1', 'orch-1', undefined])
    assert.equal(token.expiresAt - token.issuedAt, 300)
    assert.deepEqual(
      world.events.map(({ type, outcome }) => `${type} ${outcome}`),
      ['launch_token_created success', 'token_issued success', 'agent_registered success'],
    )
    assert.deepEqual(world.counts.registrations, { success: 1, failure: 0 })
    const kept = await world.agents.find(id)
    assert.equal(kept?.agent.token, token.id)
    assert.equal(kept?.agent.status, 'active')
  })

  it('never writes a launch token, a nonce or an access token into state or the trail', async () => {
    const world = await open()
    const launch = await world.launch()
    const asked = world.registration(launch)
    const registered = await world.register(asked)
    assert.equal(registered.kind, 'registered')
    const lists = await Promise.all((['launch-token', 'agent', 'token'] as const).map((kind) => world.state.records.list(kind, 100)))
    const written = JSON.stringify([lists, world.events])
    for (const secret of [launch, asked.nonce, asked.signature, registered.kind === 'registered' ? registered.minted.token : ''])
      assert.ok(!written.includes(secret))
  })

  it('clamps the life of a token by the usual, the launch token and the broker', async () => {
    const world = await open({ rules: { maxTtl: 500 } })
    const life = async (ttl: number | undefined, maxTtl: number): Promise<number> => {
      const { token } = await world.agent({ ttl }, { maxTtl })
      return token.expiresAt - token.issuedAt
    }
    assert.equal(await life(undefined, 600), 300)
    assert.equal(await life(undefined, 60), 60)
    assert.equal(await life(450, 600), 450)
    assert.equal(await life(9_000, 600), 500)
    assert.equal(await life(9_000, 400), 400)
    const endless = await open({ rules: { maxTtl: 0 } })
    const { token } = await endless.agent({ ttl: 200_000 }, { maxTtl: 300_000 })
    assert.equal(token.expiresAt - token.issuedAt, 200_000)
  })

  it('refuses a launch token that is unknown, used or expired, and a foreign one', async () => {
    const world = await open()
    const refused = async (token: string, why: string) => {
      assert.deepEqual(await world.register(world.registration(token)), { kind: 'refused', reason: 'invalid_launch_token' })
      assert.equal(reasonOf(world), why)
    }
    await refused(randomBytes(32).toString('hex'), 'unknown_launch_token')
    await refused('no launch token at all', 'unknown_launch_token')
    const other = await open()
    await refused(await other.launch(), 'unknown_launch_token')
    const once = await world.launch()
    assert.equal((await world.register(world.registration(once))).kind, 'registered')
    await refused(once, 'used_launch_token')
    const old = await world.launch({ ttl: 30 })
    world.at.ms += 30_000
    await refused(old, 'expired_launch_token')
  })

  it('lets several in by one launch token that is not for a single use', async () => {
    const world = await open()
    const launch = await world.launch({ singleUse: false })
    const ids = new Set<string>()
    for (let i = 0; i < 3; i++) {
      const registered = await world.register(world.registration(launch))
      if (registered.kind === 'registered') ids.add(registered.agentId)
    }
    assert.equal(ids.size, 3)
  })

  describe('scopes outside the ceiling', () => {
    const ceiling = ['read:data:*', 'invoke:tool:search']
    const outside = [
      '*',
      '*:*',
      '*:*:*',
      'read:*',
      'read:*:*',
      'read:*:x',
      '*:data:x',
      '*:data:*',
      'read:data*',
      'read:dat*',
      'read:data',
      'read:data2:x',
      'READ:data:x',
      'read:Data:x',
      'write:data:x',
      'invoke:tool:*',
      'invoke:tool:search:*',
      'invoke:tool:searc*',
      'invoke:*',
      'read::data:x',
      ':read:data:x',
      '**',
      'read:**',
      'read%3Adata%3Ax',
      'read:data\u002a',
    ]
    for (const scope of outside) {
      it(`${scope} is refused, and uses nothing up`, async () => {
        const world = await open()
        const launch = await world.launch({ allowedScope: ceiling })
        const asked = world.registration(launch, { scopes: ['read:data:x', scope] })
        assert.deepEqual(await world.register(asked), { kind: 'refused', reason: 'scope_outside_ceiling' })
        const event = world.events.at(-1)
        assert.deepEqual([event?.type, event?.outcome, event?.reason], ['agent_registered', 'failure', 'scope_outside_ceiling'])
        assert.equal((await world.register({ ...asked, scopes: ['read:data:x'] })).kind, 'registered')
      })
    }
    for (const all of ['*', '*:*', '*:*:*'])
      for (const scope of ['*', '*:*', 'read:*', 'read:data:*', 'read:data:x'])
        it(`${scope} is within ${all}`, async () => {
          const world = await open()
          const { token } = await world.agent({ scopes: [scope] }, { allowedScope: [all] })
          assert.deepEqual(token.scopes, [scope])
        })
    for (const scope of ['read:data:x', 'read:data:*', 'read:data:*:*', 'read:data:a:b', 'invoke:tool:search']) {
      it(`${scope} is within it`, async () => {
        const world = await open()
        const { token } = await world.agent({ scopes: [scope] }, { allowedScope: ceiling })
        assert.deepEqual(token.scopes, [scope])
      })
    }
  })

  describe('proof of the key', () => {
    it('refuses a signature by another key, over other bytes, or of another form, and uses nothing up', async () => {
      const world = await open()
      const launch = await world.launch()
      const keys = agentKeys()
      const good = world.registration(launch, {}, keys)
      const { privateKey: ec } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      assert.ok(ec)
      const wrong = [
        agentKeys().sign(good.nonce),
        keys.sign(`${good.nonce} `),
        keys.sign(world.nonces.make(world.at.ms)),
        good.signature.slice(1),
        `${good.signature}AA`,
        '',
        good.signature.replace(/^./, '+'),
      ]
      for (const signature of wrong) {
        assert.deepEqual(await world.register({ ...good, signature }), { kind: 'refused', reason: 'invalid_proof' })
        assert.equal(reasonOf(world), 'invalid_signature')
      }
      assert.equal((await world.register(good)).kind, 'registered')
    })

    it('takes the key as a JWK too, and refuses every other kind of key', async () => {
      const world = await open()
      const launch = await world.launch()
      const keys = agentKeys()
      const jwk = { kty: 'OKP', crv: 'Ed25519', x: keys.publicKey }
      const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ format: 'jwk' })
      const x25519 = generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' })
      const good = world.registration(launch, {}, keys)
      const wrong = [
        { kty: 'EC', crv: 'P-256', x: ec.x! },
        { kty: 'OKP', crv: 'X25519', x: x25519.x! },
        { ...jwk, kty: 'RSA' },
        { ...jwk, x: 'AAAA' },
        '',
        `${keys.publicKey}A`,
        Buffer.from(keys.publicKey, 'base64url').toString('hex'),
      ]
      for (const publicKey of wrong)
        assert.deepEqual(
          await world.register({ ...good, publicKey }),
          { kind: 'refused', reason: 'invalid_key' },
          JSON.stringify(publicKey),
        )
      assert.equal((await world.register({ ...good, publicKey: jwk })).kind, 'registered')
    })

    it('takes a nonce once', async () => {
      const world = await open()
      const launch = await world.launch({ singleUse: false })
      const asked = world.registration(launch)
      assert.equal((await world.register(asked)).kind, 'registered')
      assert.deepEqual(await world.register(asked), { kind: 'refused', reason: 'invalid_proof' })
      assert.equal(reasonOf(world), 'reused_nonce')
    })

    it('refuses a nonce of its own making, of another secret, and one that was changed', async () => {
      const world = await open()
      const other = await open({ secret: randomBytes(32) })
      const launch = await world.launch()
      const nonce = world.nonces.make(world.at.ms)
      const changed = nonce.slice(0, 20) + (nonce[20] === 'A' ? 'B' : 'A') + nonce.slice(21)
      for (const bad of [
        randomBytes(56).toString('base64url'),
        other.nonces.make(world.at.ms),
        changed,
        nonce.slice(0, -1),
        '',
        `${nonce}=`,
      ]) {
        assert.deepEqual(await world.register(world.registration(launch, { nonce: bad })), { kind: 'refused', reason: 'invalid_proof' })
        assert.equal(reasonOf(world), 'invalid_nonce')
      }
    })

    it('refuses a nonce that is too old, and one of a clock that is an hour ahead or behind, and counts both', async () => {
      const world = await open()
      const launch = await world.launch({ ttl: 300 })
      for (const offset of [-30_000, -3_600_000, 3_600_000]) {
        const nonce = world.nonces.make(world.at.ms + offset)
        assert.deepEqual(await world.register(world.registration(launch, { nonce })), { kind: 'refused', reason: 'invalid_proof' })
      }
      assert.equal(world.counts.skews, 3)
      const nonce = world.nonces.make(world.at.ms - 29_000)
      assert.equal((await world.register(world.registration(launch, { nonce }))).kind, 'registered')
    })
  })

  it('refuses what would make a token too long to be read', async () => {
    const world = await open()
    const scopes = Array.from({ length: 60 }, (_, i) => `read:data:${String(i).padStart(110, 'x')}`)
    const launch = await world.launch()
    assert.deepEqual(await world.register(world.registration(launch, { scopes })), { kind: 'refused', reason: 'token_too_large' })
    const { token } = await world.agent({ scopes: scopes.slice(0, 30) })
    assert.equal(token.scopes.length, 30)
  })

  it('that is stopped in between leaves a used launch token, and no agent', async () => {
    const world = await open()
    const launch = await world.launch()
    const broken = { ...world.state, audit: { ...world.state.audit, commit: () => Promise.reject(new Unavailable('stopped here')) } }
    const stopped = await openWorld({ state: broken })
    await assert.rejects(stopped.register(stopped.registration(launch)), Unavailable)
    assert.deepEqual((await world.state.records.list('agent', 10)).records, [])
    assert.deepEqual(await world.register(world.registration(launch)), { kind: 'refused', reason: 'invalid_launch_token' })
  })

  describe('for an app', () => {
    const order = { agentName: 'tester', allowedScope: ['read:data:x'], maxTtl: 300, singleUse: false, ttl: 30 }

    it('names the app as the client, and keeps to its ceiling as it is now', async () => {
      const world = await open()
      const { app } = await world.apps.create({ name: 'crawler', scopes: ['read:data:*'], tokenTtl: undefined }, 'admin')
      const made = await world.launchTokens.create(order, app.id, app)
      const first = await world.register(world.registration(made!.token))
      assert.equal(first.kind === 'registered' && world.read(first.minted.token)?.client, app.id)
      await world.apps.update(app.id, { scopes: ['read:other:*'] }, 'admin')
      assert.deepEqual(await world.register(world.registration(made!.token)), { kind: 'refused', reason: 'scope_outside_ceiling' })
      await world.apps.remove(app.id, 'admin')
      assert.deepEqual(await world.register(world.registration(made!.token)), { kind: 'refused', reason: 'invalid_launch_token' })
      assert.equal(reasonOf(world), 'app_removed')
    })

    it('makes no launch token outside its ceiling', async () => {
      const world = await open()
      const { app } = await world.apps.create({ name: 'crawler', scopes: ['read:data:x'], tokenTtl: undefined }, 'admin')
      for (const scope of ['read:data:*', 'read:*', '*', 'write:data:x'])
        assert.equal(await world.launchTokens.create({ ...order, allowedScope: ['read:data:x', scope] }, app.id, app), undefined)
      const event = world.events.at(-1)
      assert.deepEqual([event?.type, event?.outcome, event?.actor], ['launch_token_created', 'failure', app.id])
    })
  })
})
