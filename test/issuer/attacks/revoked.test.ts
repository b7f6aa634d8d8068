import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { agentOf } from '../../support/broker.ts'
import { until } from '../../support/until.ts'
import { accessToken, basic, openWorld, type World } from './world.ts'

/** At the edge clocks may be apart by a minute: a token is admitted there for as long after its `exp`. */
describe('what was revoked stays revoked', function () {
  this.timeout(40_000)
  let world: World
  let admin: string
  before(async () => {
    world = await openWorld({ ttl: '2s' })
    admin = await world.broker.login()
  })
  after(() => world?.stop())

  const expOf = (token: string): number => JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()).exp
  const pastEnd = async (token: string): Promise<void> => {
    await sleep(Math.max(0, expOf(token) * 1000 + 1500 - Date.now()))
  }
  const user = (claims = {}) =>
    world.users.mint({ sub: 'alice', aud: 'app', roles: ['reader'], exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
  const refresh = (token: string) => world.post('/token', { grant_type: 'refresh_token', refresh_token: token }, basic('backend'))
  const active = async (token: string): Promise<unknown> => (await world.post('/introspect', { token }, basic('narrow'))).json.active

  it('past its end: by its client, with its family, and when it was released', async () => {
    const own: string = (await world.own('backend')).json.access_token
    const exchanged = (await world.exchange('backend', await user(), { audience: 'postern' })).json
    const agent = await agentOf(world.broker, admin)
    const delegated = String(
      (await world.broker.ask('POST', '/v1/delegate', { scope: ['read:data:x'], ttl: 2 }, agent.token)).json['access_token'],
    )
    for (const token of [own, exchanged.access_token, delegated]) assert.equal(await world.check('/any', token), 'ok')
    assert.equal((await world.post('/revoke', { token: own }, basic('backend'))).status, 200)
    assert.equal((await world.post('/revoke', { token: exchanged.refresh_token }, basic('backend'))).status, 200)
    assert.equal((await world.broker.ask('POST', '/v1/token/release', undefined, delegated)).status, 204)
    for (const token of [own, exchanged.access_token, delegated]) assert.equal(await world.check('/any', token), 'revoked')
    await pastEnd(delegated)
    for (const token of [own, exchanged.access_token, delegated]) assert.equal(await world.check('/any', token), 'revoked')
  })

  it('also where it is revoked when it has just ended', async () => {
    const own: string = (await world.own('backend')).json.access_token
    const exchanged = (await world.exchange('backend', await user(), { audience: 'postern' })).json
    await pastEnd(exchanged.access_token)
    for (const token of [own, exchanged.access_token]) assert.equal(await world.check('/any', token), 'ok', 'the edge allows for skew')
    await world.post('/revoke', { token: own }, basic('backend'))
    await world.post('/revoke', { token: exchanged.refresh_token }, basic('backend'))
    for (const token of [own, exchanged.access_token]) assert.equal(await world.check('/any', token), 'revoked')
  })

  it('says of a refresh token that was used, or whose family has ended, that it is not active', async () => {
    const mine = async (token: string): Promise<unknown> => (await world.post('/introspect', { token }, basic('backend'))).json.active
    const first: string = (await world.exchange('backend', await user(), { audience: 'postern' })).json.refresh_token
    assert.equal(await mine(first), true)
    const second: string = (await refresh(first)).json.refresh_token
    assert.equal(await mine(first), false)
    assert.equal(await mine(second), true)
    assert.equal((await refresh(first)).status, 400)
    assert.equal(await mine(second), false)
  })

  it('with an agent: what names it as actor, and what stands for it at upstreams', async () => {
    const agent = await agentOf(world.broker, admin, { task: 'task-2' })
    const byAgent = { actor_token: agent.token, actor_token_type: accessToken }
    const edge = (await world.exchange('backend', await user(), { audience: 'postern', ...byAgent })).json
    const upstream = (await world.exchange('backend', await user(), { audience: 'api', ...byAgent })).json
    const itself = (await world.exchange('backend', agent.token, { audience: 'api' })).json
    assert.equal(await world.check('/any', edge.access_token), 'ok')
    assert.deepEqual(await Promise.all([upstream.access_token, itself.access_token].map(active)), [true, true])
    const revoked = await world.broker.ask('POST', '/v1/revoke', { level: 'agent', target: agent.id }, admin)
    assert.equal(revoked.status, 200)
    await until('the agent is refused', async () => (await world.check('/any', agent.token)) === 'revoked')
    assert.equal(await world.check('/any', edge.access_token), 'revoked')
    for (const { refresh_token } of [edge, upstream, itself]) {
      const answer = refresh_token === undefined ? { status: 400 } : await refresh(refresh_token)
      assert.equal(answer.status, 400)
    }
    assert.deepEqual(await Promise.all([upstream.access_token, itself.access_token].map(active)), [false, false])
  })
})
