import assert from 'node:assert/strict'
import { agentOf } from '../../support/broker.ts'
import { type Answer, accessToken, exchangeGrant, openWorld, type World } from './world.ts'

/** The same subject from two validators is two people, and names of clients and agents are ours alone. */
describe('nobody takes another name by an exchange', function () {
  this.timeout(30_000)
  let world: World
  before(async () => {
    world = await openWorld()
  })
  after(() => world?.stop())

  const user = (claims = {}) => world.users.mint({ sub: 'alice', aud: 'app', roles: ['reader'], ...claims })
  const swapped = async (claims: object, more: Readonly<Record<string, string>> = {}): Promise<Answer> =>
    world.post('/token', {
      grant_type: exchangeGrant,
      subject_token: await world.jobs.mint({ aud: 'raw', ...claims }),
      subject_token_type: accessToken,
      ...more,
    })
  const refused = (answer: Answer): void => assert.deepEqual([answer.status, answer.json.error], [400, 'invalid_grant'], answer.text)

  it('not that of a user of another validator', async () => {
    for (const sub of ['staff:bob', 'own:backend', 'operator:root']) {
      assert.equal(await world.check('/any', await user({ sub })), 'invalid_credential')
      for (const audience of ['api', 'postern']) refused(await world.exchange('backend', await user({ sub }), { audience }))
    }
    assert.equal((await world.exchange('backend', await user(), { audience: 'api' })).status, 200)
    const bob = await world.staff.mint({ sub: 'bob', aud: 'app', roles: ['reader'] })
    assert.equal((await world.exchange('backend', bob, { audience: 'api' })).status, 200)
  })

  it('not by a federation rule', async () => {
    for (const sub of ['staff:bob', 'own:backend', 'operator:root', 'backend']) refused(await swapped({ sub }))
    assert.equal((await swapped({ sub: 'build-7' })).status, 200)
  })

  it('not that of a workload that swaps its token', async () => {
    const job = (await swapped({ sub: 'repo', aud: 'sts' }, { audience: 'postern' })).json.access_token
    assert.equal(await world.check('/any', job), 'ok')
    for (const audience of ['api', 'postern']) refused(await world.exchange('backend', await user({ sub: 'job:repo' }), { audience }))
    const acting = { actor_token: await user({ sub: 'job:repo' }), actor_token_type: accessToken }
    refused(await world.exchange('backend', await user(), { audience: 'postern', ...acting }))
    const bob = await world.staff.mint({ sub: 'job:repo', aud: 'app', roles: ['reader'] })
    assert.equal((await world.exchange('backend', bob, { audience: 'api' })).status, 200)
  })

  it('not as an actor', async () => {
    const { id } = await agentOf(world.broker, await world.broker.login())
    for (const sub of ['narrow', id, 'staff:bob', 'own:narrow']) {
      const acting = { actor_token: await user({ sub }), actor_token_type: accessToken }
      refused(await world.exchange('backend', await user(), { audience: 'postern', ...acting }))
    }
    const acting = { actor_token: await user({ sub: 'carol' }), actor_token_type: accessToken }
    assert.equal((await world.exchange('backend', await user(), { audience: 'postern', ...acting })).status, 200)
  })

  it('not inside a chain of actors that another issuer wrote', async () => {
    const { id } = await agentOf(world.broker, await world.broker.login())
    for (const act of [{ sub: 'narrow' }, { sub: 'gateway', act: { sub: id } }]) {
      refused(await world.exchange('backend', await user({ act }), { audience: 'postern' }))
      refused(await swapped({ sub: 'build-7', act }))
    }
    assert.equal((await world.exchange('backend', await user({ act: { sub: 'gateway' } }), { audience: 'postern' })).status, 200)
  })
})
