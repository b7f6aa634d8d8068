import assert from 'node:assert/strict'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { startPostern } from '../support/postern.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { until } from '../support/until.ts'
import type { Received } from '../support/upstream.ts'
import { type RunningDex, startDex } from './dex.ts'

const policyFor = (issuer: string): string => `
version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
identity:
  - { name: users, type: oidc, issuer: "https://keycloak.example/realms/default", audience: [x], verified_by: envoy }
  - name: dex
    type: oidc
    issuer: "${issuer}"
    audience: [agents]
    claims: { roles: groups }
    introspection: { client_id: agents, auth: { secret: "\${env:POSTERN_TEST_DEX_SECRET}" }, cache: { ttl: 1s, negative_ttl: 0s } }
  - name: asked
    type: oidc
    issuer: "${issuer}"
    audience: [agents]
    claims: { roles: /ext/groups }
    introspection: { client_id: agents, auth: { secret: "\${env:POSTERN_TEST_DEX_SECRET}" }, tokens: all, cache: { ttl: 1s, negative_ttl: 0s } }
  - { name: own-clients, type: oidc, issuer: "${issuer}", audience: [agents], authorized_parties: [agents], claims: { roles: groups } }
  - { name: peers, type: oidc, issuer: "${issuer}", audience: [agents], authorized_parties: [console], claims: { roles: groups } }
roles: { authors: {} }
routes:
  - { id: anybody, path: /v1/sandboxes, identity: [users, dex], methods: [GET] }
  - { id: authors, path: "/v1/sandboxes/authors", identity: [users, dex], methods: [GET], roles: [authors] }
  - { id: asked, path: "/v1/sandboxes/asked", identity: [asked], methods: [GET], roles: [authors] }
  - { id: own-clients, path: "/v1/sandboxes/own-clients", identity: [own-clients], methods: [GET] }
  - { id: peers, path: "/v1/sandboxes/peers", identity: [peers], methods: [GET] }
`

interface Condition {
  readonly type: string
  readonly subject: string
  readonly status: string
  readonly reason: string
  readonly lastTransitionTime: string
}

describe('tokens of a real dex, through Envoy and Postern', function () {
  this.timeout(30_000)
  let dex: RunningDex
  let edge: Edge
  let admin: AdminClient

  before(async () => {
    dex = await startDex()
    const env = { POSTERN_TEST_ADMIN_SECRET: adminSecret, POSTERN_TEST_DEX_SECRET: 'agents-secret-of-tests' }
    edge = await startEdge('envoy.yaml', policyFor(dex.issuer), async (policy, at) => {
      const postern = await startPostern(policy, { env })
      admin = await adminClient(at.admin)
      return postern
    })
  })
  after(async () => {
    await edge?.stop()
    await dex?.stop()
  })

  const ask = (path: string, token: string): Promise<ClientResponse> =>
    request({ port: edge.port, tls: edge.tls(), path: `/v1/sandboxes${path}`, headers: { authorization: `Bearer ${token}` } })
  const saw = (response: ClientResponse): Received => {
    assert.equal(response.status, 200, response.body)
    return JSON.parse(response.body) as Received
  }
  const denied = async (response: ClientResponse, status: number, reason: string, detail?: RegExp): Promise<void> => {
    assert.deepEqual([response.status, (JSON.parse(response.body) as { reason: string }).reason], [status, reason])
    const id = response.headers['x-postern-decision']
    if (detail) {
      const line = await edge.postern.log('of the decision', (one) => one['decision_id'] === id)
      assert.match(String(line['detail']), detail)
    }
  }
  const condition = async (type: string): Promise<Condition> => {
    const { conditions } = (await admin.status()) as unknown as { conditions: Condition[] }
    return conditions.find((one) => one.type === type && one.subject === dex.issuer) ?? assert.fail(`no ${type} of ${dex.issuer}`)
  }

  it('name a person by password', async () => {
    const { access, claims } = await dex.login('agents')
    const { headers } = saw(await ask('', access))
    assert.deepEqual([headers['x-postern-subject'], headers['x-postern-issuer']], [claims.sub, dex.issuer])
    await denied(await ask('/authors', access), 403, 'missing_role')
  })

  it('give roles by groups, after the authorization code flow', async () => {
    const { access, claims } = await dex.author('agents')
    assert.deepEqual(claims['groups'], ['authors'])
    assert.equal(saw(await ask('/authors', access)).headers['x-postern-roles'], 'authors')
  })

  it('are refused where they are for another client, tampered with, or of nobody', async () => {
    const other = await dex.login('console')
    await denied(await ask('', other.access), 401, 'invalid_credential', /aud holds none of agents/)
    const { access } = await dex.login('agents')
    await denied(await ask('', `${access.slice(0, -8)}AAAAAAAA`), 401, 'invalid_credential', /signature does not verify/)
  })

  it('with several audiences are held to their authorized party', async () => {
    const both = await dex.login('console', 'audience:server:client_id:agents')
    assert.deepEqual([both.claims.aud, both.claims['azp']], [['agents', 'console'], 'console'])
    saw(await ask('', both.access))
    saw(await ask('/peers', both.access))
    await denied(await ask('/own-clients', both.access), 401, 'invalid_credential', /azp is no authorized party/)
    const own = await dex.login('agents')
    await denied(await ask('/peers', own.access), 401, 'invalid_credential', /names no client/)
  })

  it('are asked about where the policy says so, and their nested claims are read', async () => {
    const author = await dex.author('agents')
    const { headers } = saw(await ask('/asked', author.access))
    assert.deepEqual([headers['x-postern-subject'], headers['x-postern-roles']], [author.claims.sub, 'authors'])
    assert.equal((await condition('IntrospectionReady')).status, 'True')
    const alice = await dex.login('agents')
    await denied(await ask('/asked', alice.access), 403, 'missing_role')
  })

  it('are no refresh tokens, which dex calls active', async () => {
    const { refresh } = await dex.login('agents', 'offline_access')
    assert.ok(refresh)
    for (const path of ['', '/asked']) await denied(await ask(path, refresh), 401, 'invalid_credential', /token_use says/)
    await denied(await ask('', 'an-opaque-text-that-nobody-gave'), 401, 'invalid_credential', /not active/)
  })

  // The last one: dex loses its keys and refresh tokens.
  it('are judged by the last good keys while dex is down, and by the new ones when it is back', async () => {
    const before = await dex.author('agents', 'offline_access')
    saw(await ask('/authors', before.access))
    const since = (await condition('JWKSReady')).lastTransitionTime
    await dex.kill()
    saw(await ask('/authors', before.access))
    saw(await ask('/authors', before.access))
    await denied(await ask('', 'another-opaque-text'), 503, 'identity_unavailable', /cannot be checked/)
    const down = await condition('IntrospectionReady')
    assert.deepEqual([down.status, down.reason], ['False', 'DoesNotAnswer'])
    const keys = await condition('JWKSReady')
    assert.deepEqual([keys.status, keys.lastTransitionTime], ['True', since])

    await dex.start()
    const next = await dex.author('agents')
    saw(await ask('/authors', next.access))
    await denied(await ask('/authors', before.access), 401, 'invalid_credential', /no key of the issuer has this kid/)
    await until('dex to be asked again', async () => (await ask('', 'a-third-opaque-text')).status === 401)
    assert.equal((await condition('IntrospectionReady')).status, 'True')
  })
})
