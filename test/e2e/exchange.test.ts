import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { decodeJwt } from 'jose'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, type Placeholders, startEdge } from '../support/edge.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { startPostern } from '../support/postern.ts'
import { request } from '../support/request.ts'
import { until } from '../support/until.ts'
import type { Received } from '../support/upstream.ts'

const policy = readFileSync(new URL('../issuer/grants/fixture.yaml', import.meta.url), 'utf8')
const secret = 'a secret of the router in tests'

describe('an exchanged token', function () {
  this.timeout(40_000)
  let keycloak: OidcIssuer
  let edge: Edge
  let at: Placeholders
  let admin: AdminClient

  before(async () => {
    keycloak = await startOidc()
    const filled = policy.replace('@keycloak@', keycloak.issuer).replace('@verified@', 'postern')
    edge = await startEdge('envoy.yaml', filled, (text, places) => {
      at = places
      return startPostern(text, { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret, ROUTER_SECRET: secret } })
    })
    admin = await adminClient(at.admin)
  })
  after(async () => {
    await edge?.stop()
    await keycloak?.stop()
  })

  /** As Keycloak 26 writes an access token. */
  const userToken = (over: Record<string, unknown> = {}): Promise<string> =>
    keycloak.mint({
      sub: '3f0c9f6e-4d3b-4a44-9a3e-0c4f5f8a1a11',
      jti: `trrtcc:${Math.random()}`,
      aud: ['gateway', 'account'],
      typ: 'Bearer',
      azp: 'console',
      sid: 'b9a1',
      acr: '1',
      realm_access: { roles: ['member', 'offline_access', 'uma_authorization'] },
      resource_access: { account: { roles: ['manage-account'] } },
      scope: 'openid profile email read:sandbox:*',
      email_verified: true,
      preferred_username: 'alice',
      ...over,
    })

  const ask = async (form: Record<string, string>, as = 'router', by = secret) => {
    const response = await fetch(`http://${at.issuer}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${as}:${encodeURIComponent(by)}`).toString('base64')}` },
      body: new URLSearchParams(form),
    })
    return { status: response.status, body: (await response.json()) as Record<string, string> }
  }
  const exchange = async (subject: string, more: Record<string, string> = {}) =>
    ask({
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: subject,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      ...more,
    })
  const enter = (token: string) =>
    request({
      port: edge.port,
      tls: edge.tls(),
      path: '/v1/sandboxes',
      headers: { host: 'edge.example', authorization: `Bearer ${token}` },
    })

  // The same subject from two validators is two people: who enters by a token of ours has the namespace of its validator.
  const whole = 'agent:user:3f0c9f6e-4d3b-4a44-9a3e-0c4f5f8a1a11'

  it('lets a request in, in the name of the user, and names who acts', async () => {
    const { status, body } = await exchange(await userToken())
    assert.equal(status, 200, JSON.stringify(body))
    assert.deepEqual(
      [body['token_type'], body['issued_token_type'], body['expires_in']],
      ['Bearer', 'urn:ietf:params:oauth:token-type:access_token', 120],
    )
    const response = await enter(body['access_token']!)
    assert.equal(response.status, 200, response.body)
    const { headers } = JSON.parse(response.body) as Received
    assert.equal(headers['x-postern-subject'], whole)
    const downstream = decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length))
    assert.deepEqual([downstream.sub, downstream.aud, downstream['scope']], [whole, 'workloadmanager', 'read:sandbox:*'])
    const actors = JSON.stringify(downstream['act'])
    assert.match(actors, /"sub":"router"/)
  })

  it('for an upstream opens nothing here', async () => {
    const { body } = await exchange(await userToken(), { audience: 'picod' })
    assert.equal((await enter(body['access_token']!)).status, 401)
    assert.deepEqual((await exchange(body['access_token']!)).body['error'], 'invalid_grant')
  })

  it('is refused within a second once the user is revoked, as is its refresh', async () => {
    const subject = `user:${'revoked'}`
    const { body } = await exchange(await userToken({ sub: 'revoked' }))
    assert.equal((await enter(body['access_token']!)).status, 200)
    await admin.revoke('subject', subject)
    await until('the refusal', async () => (await enter(body['access_token']!)).status === 401, 1000)
    const again = await ask({ grant_type: 'refresh_token', refresh_token: body['refresh_token']! })
    assert.deepEqual([again.status, again.body['error']], [400, 'invalid_grant'])
  })

  it('is refreshed while the user’s token lasts, once for each refresh token', async () => {
    const { body } = await exchange(await userToken())
    const next = await ask({ grant_type: 'refresh_token', refresh_token: body['refresh_token']! })
    assert.equal(next.status, 200, JSON.stringify(next.body))
    assert.equal((await enter(next.body['access_token']!)).status, 200)
    const again = await ask({ grant_type: 'refresh_token', refresh_token: body['refresh_token']! })
    assert.deepEqual([again.status, again.body['error']], [400, 'invalid_grant'])
    await until('the end of all that came of it', async () => (await enter(next.body['access_token']!)).status === 401, 1000)
    assert.equal((await enter(body['access_token']!)).status, 401)
  })

  it('is refused to whom the policy in force does not allow it any more', async () => {
    const token = await userToken()
    const filled = readFileSync(edge.postern.config, 'utf8')
    assert.equal((await exchange(token)).status, 200)
    edge.postern.rewrite(filled.replace('[postern, picod], max_ttl', '[picod], max_ttl'))
    await until('the new policy', async () => (await exchange(token, { audience: 'postern' })).body['error'] === 'invalid_target', 3000)
    edge.postern.rewrite(filled.replace('    - id: router', '    - id: another'))
    await until('the client’s end', async () => (await exchange(token)).status === 401, 3000)
    edge.postern.rewrite(filled)
    await until('the old policy', async () => (await exchange(token)).status === 200, 3000)
  })

  it('is in the audit trail, as are refusals', async () => {
    await exchange(await userToken(), { audience: 'nobody' })
    await until('the events', async () => {
      const answer = await admin.call('GET', '/v1/audit/events?event_type=token_refused&limit=50')
      const text = await answer.text()
      return answer.ok && text.includes('audience_not_allowed') && !text.includes('eyJ')
    })
  })
})
