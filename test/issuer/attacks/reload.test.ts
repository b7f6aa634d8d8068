import assert from 'node:assert/strict'
import { agentOf } from '../../support/broker.ts'
import { until } from '../../support/until.ts'
import { type Answer, accessToken, basic, exchangeGrant, openWorld, secretOf, type World } from './world.ts'

/** What another policy takes away is gone for all that comes after, also for what began before. */
describe('a policy that takes something away', function () {
  this.timeout(40_000)
  let world: World
  beforeEach(async () => {
    world = await openWorld()
  })
  afterEach(() => world?.stop())

  const user = (claims = {}) =>
    world.users.mint({ sub: 'alice', aud: 'app', roles: ['reader'], exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
  const refresh = (token: string) => world.post('/token', { grant_type: 'refresh_token', refresh_token: token }, basic('backend'))
  const swap = async (): Promise<Answer> =>
    world.post('/token', {
      grant_type: exchangeGrant,
      subject_token: await world.jobs.mint({ sub: 'repo', aud: 'sts' }),
      subject_token_type: accessToken,
    })
  const inForce = (): number => world.postern.logs().filter(({ msg }) => msg === 'policy in force').length
  const take = async (policy: string): Promise<void> => {
    const before = inForce()
    world.postern.rewrite(policy)
    await until('the policy is in force', async () => inForce() > before)
  }

  it('a validator: its subjects are not refreshed', async () => {
    const begun = (await world.exchange('backend', await user(), { audience: 'postern' })).json.refresh_token
    const staff = await world.staff.mint({ sub: 'bob', aud: 'app', roles: ['reader'], exp: Math.floor(Date.now() / 1000) + 3600 })
    const other = (await world.exchange('backend', staff, { audience: 'postern' })).json.refresh_token
    await take(
      world
        .policy()
        .replace(/ {2}- \{ name: users[^\n]*\n/, '')
        .replace('subjects_of: [users]', 'subjects_of: [staff]'),
    )
    const answer = await refresh(begun)
    assert.deepEqual([answer.status, answer.json.error], [400, 'invalid_grant'])
    assert.equal((await refresh(other)).status, 200)
  })

  it('a client: nothing is granted to it, nor for what it was issued', async () => {
    const extra = (world: World): string =>
      world.policy(
        `    - { id: extra, auth: { secret: "${secretOf('extra')}" }, grants: [client_credentials], audiences: [postern], roles: [reader] }\n`,
      )
    await take(extra(world))
    const form = { grant_type: 'client_credentials' }
    const token = (await world.post('/token', form, basic('extra'))).json.access_token
    assert.equal((await world.exchange('backend', token, { audience: 'api' })).status, 200)
    await take(world.policy())
    assert.equal((await world.post('/token', form, basic('extra'))).status, 401)
    assert.equal((await world.exchange('backend', token, { audience: 'api' })).status, 400)
  })

  it('the federation: nobody comes in without a client, and discovery names no such way', async () => {
    assert.equal((await swap()).status, 200)
    await take(world.policy().replace(/ {2}federation:\n( +- .*\n)+/, ''))
    const answer = await swap()
    assert.deepEqual([answer.status, answer.json.error], [401, 'invalid_client'])
    const named = await world.post('/token', { grant_type: exchangeGrant, client_id: 'federated' })
    assert.deepEqual([named.status, named.json.error], [401, 'invalid_client'])
    const metadata = (await (await fetch(`${world.issuer}/.well-known/openid-configuration`)).json()) as Record<string, string[]>
    assert.ok(!metadata['token_endpoint_auth_methods_supported']?.includes('none'))
  })

  it('the broker: its agents are still nobody else', async () => {
    const { id } = await agentOf(world.broker, await world.broker.login())
    await take(world.policy().replace('broker: { enabled: true', 'broker: { enabled: false'))
    assert.equal((await world.broker.ask('GET', '/v1/challenge')).status, 404)
    const answer = await world.exchange('backend', await user({ sub: id }), { audience: 'api' })
    assert.deepEqual([answer.status, answer.json.error], [400, 'invalid_grant'])
  })

  it('all clients: nothing is served, and comes again with them', async () => {
    await take(world.policy().replace(/ {2}clients:\n[\s\S]*?(?=routes:)/, ''))
    assert.equal((await world.own('backend')).status, 404)
    await take(world.policy())
    assert.equal((await world.own('backend')).status, 200)
  })
})
