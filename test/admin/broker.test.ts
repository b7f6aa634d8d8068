import assert from 'node:assert/strict'
import { createApps } from '../../src/issuer/broker/apps.ts'
import { launchBody } from '../../src/issuer/broker/http-schemas.ts'
import { createLaunchTokens } from '../../src/issuer/broker/launch-tokens.ts'
import { recordingActs } from '../../src/issuer/issuance.ts'
import { type Fixture, sparingly } from './fixture.ts'

describe('the broker on the admin listener', () => {
  const open = sparingly()
  const withBroker = (): Promise<Fixture> =>
    open(({ newId, realm, clock, audit }, { records }) => {
      const record = recordingActs({ audit, newId, realm, clock })
      return {
        broker: {
          apps: createApps({ records, record, clock }),
          launchTokens: createLaunchTokens({ records, record, clock, onCreated: () => {} }),
          launchBody,
        },
      }
    })

  it('makes launch tokens with the defaults of the contract', async () => {
    const { ask, login, state } = await withBroker()
    const token = await login()
    const began = Date.now()
    const made = await ask('/v1/admin/launch-tokens', { method: 'POST', token, body: { agent_name: 'a', allowed_scope: ['read:data:*'] } })
    assert.equal(made.status, 201)
    assert.deepEqual(Object.keys(made.json).sort(), ['expires_at', 'launch_token', 'policy'])
    assert.match(String(made.json['launch_token']), /^[0-9a-f]{64}$/)
    assert.deepEqual(made.json['policy'], { allowed_scope: ['read:data:*'], max_ttl: 300 })
    const life = Date.parse(String(made.json['expires_at'])) - began
    assert.ok(life > 28_000 && life <= 31_000, `${life} ms`)
    const [event] = (await state.audit.tail(10)).filter(({ type }) => type === 'launch_token_created')
    assert.deepEqual(event?.detail, { agent_name: 'a', allowed_scope: ['read:data:*'], max_ttl: 300, single_use: true, ttl: 30 })
    assert.equal(event?.actor, 'admin')
  })

  /** A `*` that is no whole trailing part: such a ceiling would hold nothing. */
  const misplaced = ['read:data*', 'read:*:x', '*:data:x', '**', 'read:**', '*x', 'read:*:']

  it('refuses bodies that are not as they should be', async () => {
    const { ask, login } = await withBroker()
    const token = await login()
    const good = { agent_name: 'a', allowed_scope: ['read:data:*'] }
    for (const change of [
      { agent_name: '' },
      { agent_name: 'a\u0000' },
      { allowed_scope: [] },
      { allowed_scope: ['a b'] },
      ...misplaced.map((scope) => ({ allowed_scope: ['read:data:*', scope] })),
      { allowed_scope: ['x'.repeat(129)] },
      { allowed_scope: 'read:data:*' },
      { max_ttl: 0 },
      { max_ttl: 1.5 },
      { ttl: -1 },
      { ttl: 86_401 },
      { single_use: 'yes' },
      { more: 1 },
    ]) {
      const answer = await ask('/v1/admin/launch-tokens', { method: 'POST', token, body: { ...good, ...change } })
      assert.deepEqual([answer.status, answer.json['reason']], [400, 'bad_body'], JSON.stringify(change))
    }
  })

  it('manages apps, whose secret is shown once', async () => {
    const { ask, login } = await withBroker()
    const token = await login()
    for (const scope of misplaced)
      assert.equal((await ask('/v1/admin/apps', { method: 'POST', token, body: { name: 'crawler', scopes: [scope] } })).status, 400, scope)
    const made = await ask('/v1/admin/apps', {
      method: 'POST',
      token,
      body: { name: 'crawler', scopes: ['a:b:c', 'a:b:c'], token_ttl: 60 },
    })
    assert.equal(made.status, 201)
    const { app_id: id, client_id, client_secret, scopes } = made.json
    assert.equal(client_id, id)
    assert.match(String(client_secret), /^[0-9a-f]{64}$/)
    assert.deepEqual(scopes, ['a:b:c'])
    assert.equal(made.headers['location'], `/v1/admin/apps/${String(id)}`)
    const path = `/v1/admin/apps/${String(id)}`
    const shown = await ask(path, { token })
    assert.deepEqual([shown.status, 'client_secret' in shown.json, shown.json['token_ttl']], [200, false, 60])
    const changed = await ask(path, { method: 'PUT', token, body: { scopes: [] } })
    assert.deepEqual([changed.status, changed.json['scopes'], changed.json['name']], [200, [], 'crawler'])
    assert.equal((await ask('/v1/admin/apps?limit=0', { token })).status, 400)
    assert.equal((await ask('/v1/admin/apps?after=%00', { token })).status, 400)
    assert.equal((await ask(path, { method: 'DELETE', token })).status, 204)
    for (const method of ['GET', 'PUT', 'DELETE'])
      assert.equal((await ask(path, { method, token, ...(method === 'PUT' ? { body: {} } : {}) })).status, 404)
  })

  it('lists apps a page at a time', async () => {
    const { ask, login } = await withBroker()
    const token = await login()
    for (let i = 0; i < 5; i++) await ask('/v1/admin/apps', { method: 'POST', token, body: { name: `app ${i}`, scopes: [] } })
    const names: string[] = []
    for (let after = ''; ; ) {
      const page = await ask(`/v1/admin/apps?limit=2${after}`, { token })
      names.push(...(page.json['apps'] as { name: string }[]).map(({ name }) => name))
      if (page.json['next'] === null) break
      after = `&after=${String(page.json['next'])}`
    }
    assert.deepEqual(names, ['app 0', 'app 1', 'app 2', 'app 3', 'app 4'])
  })

  it('is nothing without an issuer, and nothing to those who may not', async () => {
    const plain = await open()
    const token = await plain.login()
    for (const path of ['/v1/admin/apps', '/v1/admin/apps/x']) assert.equal((await plain.ask(path, { token })).status, 404)
    assert.equal((await plain.ask('/v1/admin/launch-tokens', { method: 'POST', token, body: {} })).status, 404)
    const narrow = await open((options) => ({
      issuer: { ...options.issuer!, verifyAdmin: () => ({ subject: 'auditor', scopes: ['admin:audit:*'] }) },
    }))
    for (const path of ['/v1/admin/apps', '/v1/admin/launch-tokens']) {
      assert.equal((await narrow.ask(path, { method: 'POST', token: 'x', body: {} })).status, 403)
      assert.equal((await narrow.ask(path, { method: 'POST', body: {} })).status, 401)
    }
  })
})
