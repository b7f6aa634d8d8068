import assert from 'node:assert/strict'
import { decodeJwt } from 'jose'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { startPostern } from '../support/postern.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { until } from '../support/until.ts'
import type { Received } from '../support/upstream.ts'
import { type RunningKeycloak, secretOf } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

const asking = (secret: string, tokens: 'all' | 'opaque'): string =>
  `introspection: { client_id: agentcube-router, auth: { secret: "\${env:${secret}}" }, tokens: ${tokens}, cache: { ttl: 1s, negative_ttl: 0s }, timeout: 500ms }`

const policyFor = (issuer: string): string => `
version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
identity:
  - { name: users, type: oidc, issuer: "https://keycloak.example/realms/default", audience: [x], verified_by: envoy }
  - { name: plain, type: oidc, issuer: "${issuer}", provider: keycloak, audience: [agentcube-router] }
  - { name: asked, type: oidc, issuer: "${issuer}", provider: keycloak, audience: [agentcube-router], ${asking('POSTERN_TEST_ROUTER_SECRET', 'all')} }
  - { name: stranger, type: oidc, issuer: "${issuer}", provider: keycloak, audience: [agentcube-router], ${asking('POSTERN_TEST_WRONG_SECRET', 'all')} }
roles: { "sandbox:invoke": {}, "sandbox:manage": {} }
routes:
  - { id: plain, path: /v1/sandboxes/plain, identity: [plain], methods: [GET], roles: ["sandbox:invoke"] }
  - { id: asked, path: /v1/sandboxes/asked, identity: [asked], methods: [GET], roles: ["sandbox:invoke"] }
  - { id: stranger, path: /v1/sandboxes/stranger, identity: [stranger], methods: [GET], roles: ["sandbox:invoke"] }
  - { id: both, path: /v1/sandboxes/both, identity: [plain, asked], methods: [GET], roles: ["sandbox:invoke"] }
`

interface Login {
  readonly access: string
  readonly refresh: string
}

describe('introspection by a real Keycloak', function () {
  this.timeout(30_000)
  let keycloak: RunningKeycloak
  let edge: Edge
  let admin: AdminClient

  before(async function () {
    this.timeout(180_000)
    keycloak = await sharedKeycloak()
    await addLightClient(keycloak)
    const env = {
      POSTERN_TEST_ADMIN_SECRET: adminSecret,
      POSTERN_TEST_ROUTER_SECRET: secretOf('agentcube-router'),
      POSTERN_TEST_WRONG_SECRET: 'not-the-secret',
    }
    edge = await startEdge('envoy.yaml', policyFor(keycloak.issuer), async (policy, at) => {
      const postern = await startPostern(policy, { env })
      admin = await adminClient(at.admin)
      return postern
    })
    // Keycloak loads classes for its first answer.
    await until('the first answer', async () => (await ask('asked', (await login('alice')).access)).status === 200, 30_000)
  })
  after(async function () {
    this.timeout(60_000)
    await edge?.stop()
  })

  const end = (path: string, form: Record<string, string>): Promise<Response> =>
    fetch(`${keycloak.issuer}/protocol/openid-connect/${path}`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: light, ...form }),
    })
  const login = async (who: string): Promise<Login> => {
    const body = (await (await end('token', { grant_type: 'password', username: who, password: `${who}-password` })).json()) as {
      access_token: string
      refresh_token: string
    }
    assert.ok(body.access_token, JSON.stringify(body))
    return { access: body.access_token, refresh: body.refresh_token }
  }
  const ask = (path: string, token: string): Promise<ClientResponse> =>
    request({ port: edge.port, tls: edge.tls(), path: `/v1/sandboxes/${path}`, headers: { authorization: `Bearer ${token}` } })
  const saw = (response: ClientResponse): Received => {
    assert.equal(response.status, 200, response.body)
    return JSON.parse(response.body) as Received
  }
  const denied = async (response: ClientResponse, status: number, reason: string, detail: RegExp): Promise<void> => {
    assert.deepEqual([response.status, (JSON.parse(response.body) as { reason: string }).reason], [status, reason])
    const id = response.headers['x-postern-decision']
    assert.match(String((await edge.postern.log('of the decision', (one) => one['decision_id'] === id))['detail']), detail)
  }

  it('makes a principal of a lightweight token, which says nothing itself', async () => {
    const { access } = await login('alice')
    const claims = decodeJwt(access)
    assert.deepEqual(
      [claims.sub, claims.aud, claims['realm_access']],
      [undefined, undefined, undefined],
      'Keycloak made no lightweight token',
    )
    await denied(await ask('plain', access), 401, 'invalid_credential', /aud holds none/)
    const { headers } = saw(await ask('asked', access))
    const whole = await keycloak.login('alice')
    assert.equal(headers['x-postern-subject'], whole.claims.sub)
    assert.match(headers['x-postern-roles'] ?? '', /sandbox%3Ainvoke|sandbox:invoke/)
  })

  it('comes second in a chain, where the first rejection does not stop it', async () => {
    saw(await ask('both', (await login('alice')).access))
    saw(await ask('both', (await keycloak.login('alice')).token))
  })

  it('takes a whole token too', async () => saw(await ask('asked', (await keycloak.login('alice')).token)))

  it('lets nobody in with a token whose session has ended, within the ttl', async () => {
    const { access, refresh } = await login('alice')
    saw(await ask('asked', access))
    assert.equal((await end('logout', { refresh_token: refresh })).status, 204)
    const began = Date.now()
    await until('the token to be out', async () => (await ask('asked', access)).status === 401, 5_000)
    assert.ok(Date.now() - began < 2_000, `${Date.now() - began} ms`)
    await denied(await ask('asked', access), 401, 'invalid_credential', /not active/)
  })

  it('is not asked about refresh tokens, nor forged ones', async () => {
    const { access, refresh } = await login('alice')
    await denied(await ask('asked', refresh), 401, 'invalid_credential', /alg is none of/)
    await denied(await ask('asked', `${access.slice(0, -8)}AAAAAAAA`), 401, 'invalid_credential', /signature does not verify/)
  })

  it('tells when Keycloak does not know the client', async () => {
    const { access } = await login('alice')
    await denied(await ask('stranger', access), 503, 'identity_unavailable', /refused our client agentcube-router \(401\)/)
    const { conditions } = (await admin.status()) as unknown as { conditions: { type: string; status: string; message: string }[] }
    const found = conditions.filter(({ type }) => type === 'IntrospectionReady').map(({ status }) => status)
    assert.deepEqual(found.sort(), ['False', 'True'])
  })

  it('is unavailable while Keycloak hangs, within its time-out', async () => {
    const known = await login('alice')
    const other = await login('alice')
    saw(await ask('asked', known.access))
    keycloak.hang()
    try {
      saw(await ask('asked', known.access))
      const began = Date.now()
      await denied(await ask('asked', other.access), 503, 'identity_unavailable', /within 500 ms|waiting|deadline/)
      assert.ok(Date.now() - began < 1_500)
    } finally {
      keycloak.resume()
    }
    await until('Keycloak to answer again', async () => (await ask('asked', other.access)).status === 200, 15_000)
  })
})

const light = 'agentcube-light'

/** A client whose tokens hold next to nothing (`client.use.lightweight.access.token.enabled`), made as agentcube-console is. */
async function addLightClient({ url, issuer }: RunningKeycloak): Promise<void> {
  const form = { grant_type: 'password', client_id: 'admin-cli', username: 'admin', password: 'admin' }
  const login = await fetch(`${url}/realms/master/protocol/openid-connect/token`, { method: 'POST', body: new URLSearchParams(form) })
  const { access_token: token } = (await login.json()) as { access_token: string }
  const { status } = await fetch(`${issuer.replace('/realms/', '/admin/realms/')}/clients`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      clientId: light,
      publicClient: true,
      standardFlowEnabled: false,
      directAccessGrantsEnabled: true,
      fullScopeAllowed: true,
      defaultClientScopes: ['subject', 'realm-roles', 'edge'],
      attributes: { 'client.use.lightweight.access.token.enabled': 'true' },
    }),
  })
  if (status !== 201) throw new Error(`Keycloak answered ${status} to the new client`)
}
