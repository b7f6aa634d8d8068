import assert from 'node:assert/strict'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { type Behaviour, type OidcIssuer, startOidc } from '../support/oidc.ts'
import { request } from '../support/request.ts'
import { until } from '../support/until.ts'
import { type FaultEdge, policyOf, startFaultEdge } from './edge.ts'

describe('an issuer that fails, where Postern verifies', function () {
  this.timeout(40_000)
  let issuer: OidcIssuer
  let edge: FaultEdge
  let admin: AdminClient

  /** An issuer that behaves so, and a service that starts beside it. */
  async function start(behaviour: Behaviour): Promise<void> {
    issuer = await startOidc()
    issuer.behave(behaviour)
    edge = await startFaultEdge(policyOf('issuer.yaml', { here: issuer.issuer }))
    admin = await adminClient(edge.at.admin)
  }
  afterEach(async () => {
    await edge?.stop()
    await issuer?.stop()
  })

  const mint = () => issuer.mint({ sub: 'alice', aud: 'edge', roles: ['invoke'], jti: String(Math.random()) })
  async function ask(token: string): Promise<string> {
    const { status, body, headers } = await request({
      port: edge.port,
      path: '/v1/sandboxes',
      headers: { authorization: `Bearer ${token}` },
    })
    if (status === 200) return '200 ok'
    const line = await edge.envoy.logLine({ decision_id: headers['x-postern-decision'] })
    assert.equal(line['reason'], (JSON.parse(body) as { reason: string }).reason)
    assert.deepEqual([line['details'], line['route']], ['ext_authz_denied', 'plain'])
    return `${status} ${line['reason']}`
  }
  const condition = async () => {
    const all = (await admin.status())['conditions'] as { type: string; status: string; reason: string }[]
    const { status, reason } = all.find(({ type }) => type === 'JWKSReady')!
    return `${status} ${reason}`
  }

  it('from the start: identity_unavailable within the deadline, told by status, and well again by itself', async () => {
    await start('hangs')
    const began = performance.now()
    assert.equal(await ask(await mint()), '503 identity_unavailable')
    assert.ok(performance.now() - began < 1000)
    await until('the condition', async () => (await condition()) === 'False DiscoveryFailed', 5000)
    issuer.behave('well')
    await until('an allow', async () => (await ask(await mint())) === '200 ok', 15_000)
    assert.equal(await condition(), 'True Fetched')
  })

  it('later: the keys of before go on, however it fails', async () => {
    await start('well')
    assert.equal(await ask(await mint()), '200 ok')
    for (const behaviour of ['hangs', 'fails', 'garbage'] as const) {
      issuer.behave(behaviour)
      assert.equal(await ask(await mint()), '200 ok', behaviour)
    }
  })

  it('with new keys that cannot be fetched: those of before go on, and what the new ones sign is not let through', async () => {
    await start('well')
    const old = await mint()
    assert.equal(await ask(old), '200 ok')
    await issuer.rotate()
    issuer.behave('fails')
    const fresh = await mint()
    assert.equal(await ask(old), '200 ok')
    assert.equal(await ask(fresh), '503 identity_unavailable')
    assert.equal(await ask(old), '200 ok')
    issuer.behave('well')
    await until('the new keys', async () => (await ask(fresh)) === '200 ok', 15_000)
    // They left the key set: what they signed is no longer good.
    assert.equal(await ask(old), '401 invalid_credential')
  })
})
