import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { decodeJwt, type JWTPayload } from 'jose'
import { parseDocument } from 'yaml'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { type Admin, adminOf } from './admin.ts'
import { type AgentcubeEdge, startAgentcubeEdge } from './agentcube-edge.ts'
import { ask, isAllowed, isDenied } from './ask.ts'
import { logInByBrowser } from './browser.ts'
import { type AccessToken, type RunningKeycloak, secretOf } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

const folder = new URL('../../deploy/keycloak/', import.meta.url)
const invoke = 'invoke:sandbox:*'
const manage = 'manage:sandbox:*'

interface Client {
  readonly clientId: string
  readonly secret?: string
  readonly redirectUris?: readonly string[]
  readonly directAccessGrantsEnabled?: boolean
  readonly fullScopeAllowed?: boolean
}

describe('the realm that is deployed', function () {
  this.timeout(30_000)
  let keycloak: RunningKeycloak
  let admin: Admin
  before(async function () {
    this.timeout(180_000)
    keycloak = await sharedKeycloak()
    admin = await adminOf(keycloak)
  })

  const tokenFor = async (form: Record<string, string>, client: string): Promise<{ status: number; body: Record<string, unknown> }> => {
    const authorization = `Basic ${Buffer.from(`${client}:${secretOf(client)}`).toString('base64')}`
    const response = await fetch(`${keycloak.issuer}/protocol/openid-connect/token`, {
      method: 'POST',
      headers: { authorization },
      body: new URLSearchParams(form),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const program = async (scope?: string): Promise<AccessToken> => {
    const { body } = await tokenFor({ grant_type: 'client_credentials', ...(scope === undefined ? {} : { scope }) }, 'agentcube-sdk')
    const token = String(body['access_token'])
    return { token, claims: decodeJwt(token) }
  }
  const exchange = ({ token }: AccessToken, more: Record<string, string>, client = 'agentcube-router') =>
    tokenFor(
      {
        grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
        subject_token: token,
        subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        ...more,
      },
      client,
    )
  const claimsOf = ({ status, body }: { status: number; body: Record<string, unknown> }): JWTPayload => {
    assert.equal(status, 200, JSON.stringify(body))
    return decodeJwt(String(body['access_token']))
  }

  describe('as a file', () => {
    const { clients } = JSON.parse(readFileSync(new URL('agentcube-realm.json', folder), 'utf8')) as { clients: Client[] }

    it('holds no secret, and the brokers’ files none', () => {
      const files = ['agentcube-realm.json', ...readdirSync(new URL('brokers/', folder)).map((name) => `brokers/${name}`)]
      for (const name of files)
        for (const [, key, value] of readFileSync(new URL(name, folder), 'utf8').matchAll(
          /"(secret|clientSecret|signingCertificate|value)": "([^"]*)"/g,
        ))
          assert.match(value ?? '', /^\$\{[A-Z_]+\}$/, `${name}: ${key}`)
    })

    it('has no redirect with a wildcard, no password login, and no client that gets every role by itself', () => {
      for (const { clientId, redirectUris = [], directAccessGrantsEnabled = false, fullScopeAllowed } of clients) {
        assert.ok(
          redirectUris.every((uri) => !uri.includes('*')),
          clientId,
        )
        assert.equal(directAccessGrantsEnabled, false, clientId)
        assert.equal(fullScopeAllowed, false, clientId)
      }
    })
  })

  it('locks out who guesses, keeps tokens short, and takes refresh tokens once', async () => {
    const { body } = await admin('GET', '/agentcube')
    const { bruteForceProtected, accessTokenLifespan, revokeRefreshToken, refreshTokenMaxReuse, registrationAllowed, sslRequired } = body
    assert.deepEqual(
      { bruteForceProtected, accessTokenLifespan, revokeRefreshToken, refreshTokenMaxReuse, registrationAllowed, sslRequired },
      {
        bruteForceProtected: true,
        accessTokenLifespan: 300,
        revokeRefreshToken: true,
        refreshTokenMaxReuse: 0,
        registrationAllowed: false,
        sslRequired: 'external',
      },
    )
  })

  it('lists in realm_access.roles what composites contain, and nothing of Keycloak’s own', async () => {
    const expected = {
      'agentcube-sdk': ['sandbox:invoke', 'sandbox:manage'],
      alice: ['sandbox:invoke', 'sandbox:manage'],
      carol: ['admin', 'sandbox:invoke', 'sandbox:manage'],
      erin: ['sandbox:invoke'],
    } as const
    for (const [who, roles] of Object.entries(expected)) {
      const { token } =
        who === 'agentcube-sdk'
          ? await program()
          : { token: await logInByBrowser(keycloak.issuer, { username: who, password: `${who}-password` }) }
      const { realm_access: access } = decodeJwt(token) as { realm_access?: { roles: string[] } }
      assert.deepEqual(access?.roles.sort(), roles, who)
    }
    const dave = decodeJwt(await logInByBrowser(keycloak.issuer, { username: 'dave', password: 'dave-password' }))
    assert.equal(dave['realm_access'], undefined)
  })

  it('gives upstreams no tokens of their own, and a terminal none by password', async () => {
    for (const client of ['workloadmanager', 'picod'])
      assert.equal((await tokenFor({ grant_type: 'client_credentials' }, client)).body['error'], 'unauthorized_client')
    const form = { grant_type: 'password', client_id: 'agentcube-cli', username: 'alice', password: 'alice-password' }
    const response = await fetch(`${keycloak.issuer}/protocol/openid-connect/token`, { method: 'POST', body: new URLSearchParams(form) })
    assert.equal(((await response.json()) as { error: string }).error, 'unauthorized_client')
  })

  it('starts a login by device code', async () => {
    const response = await fetch(`${keycloak.issuer}/protocol/openid-connect/auth/device`, {
      method: 'POST',
      body: new URLSearchParams({ client_id: 'agentcube-cli', code_challenge: 'x'.repeat(43), code_challenge_method: 'S256' }),
    })
    const body = (await response.json()) as { user_code?: string; verification_uri?: string }
    assert.equal(response.status, 200, JSON.stringify(body))
    assert.match(body.user_code ?? '', /^[A-Z0-9]{4}-[A-Z0-9]{4}$/)
  })

  describe('downscoping', () => {
    it('gives an exchanged token the scope that is asked for, of those that the caller’s token has', async () => {
      const both = await program(`${invoke} ${manage}`)
      assert.equal(claimsOf(await exchange(both, { audience: 'picod', scope: invoke }))['scope'], invoke)
      assert.equal(claimsOf(await exchange(both, { audience: 'picod' }))['scope'], '')
    })

    it('refuses every widening', async () => {
      const narrow = await program(invoke)
      for (const scope of [manage, `${invoke} ${manage}`, `${invoke} openid`]) {
        const { status, body } = await exchange(narrow, { audience: 'workloadmanager', scope })
        assert.deepEqual([status, body['error']], [400, 'invalid_scope'])
        assert.match(String(body['error_description']), /not present in the initial access token/)
      }
      const none = await program()
      assert.equal((await exchange(none, { audience: 'picod', scope: invoke })).body['error'], 'invalid_scope')
    })

    it('is the work of downscope-assertion-grant-enforcer: without it Keycloak widens', async () => {
      const path = '/agentcube/client-policies/policies'
      const { body: policies } = await admin('GET', path)
      const narrow = await program(invoke)
      await admin('PUT', path, { policies: [] })
      try {
        const widened = claimsOf(await exchange(narrow, { audience: 'workloadmanager', scope: manage }))
        assert.equal(widened['scope'], manage)
      } finally {
        await admin('PUT', path, { policies: policies.policies })
      }
      assert.equal((await exchange(narrow, { audience: 'workloadmanager', scope: manage })).body['error'], 'invalid_scope')
    })

    it('holds for an exchange for no audience, which then names the upstreams and no one else', async () => {
      const narrow = await program(invoke)
      assert.equal((await exchange(narrow, { scope: manage })).body['error'], 'invalid_scope')
      assert.deepEqual([claimsOf(await exchange(narrow, {})).aud].flat().sort(), ['picod', 'workloadmanager'])
    })

    it('gives no refresh token for an exchange, and lets nobody else exchange', async () => {
      const both = await program(`${invoke} ${manage}`)
      const refresh = { audience: 'picod', requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }
      assert.equal((await exchange(both, refresh)).status, 400)
      const exchanged = await exchange(both, { audience: 'picod' })
      const subject = { token: String(exchanged.body['access_token']), claims: {} }
      for (const client of ['agentcube-sdk', 'picod', 'workloadmanager'])
        for (const token of [both, subject]) assert.notEqual((await exchange(token, { audience: 'picod' }, client)).status, 200, client)
    })
  })

  describe('downscoping, through Envoy and Postern', () => {
    let redis: RunningRedis
    let edge: AgentcubeEdge
    const made = { method: 'POST', path: '/v1/code-interpreter', body: { name: 'my-interpreter', namespace: 'default' } } as const
    before(async function () {
      this.timeout(60_000)
      redis = await startRedis()
      edge = await startAgentcubeEdge(keycloak, redis)
      const document = parseDocument(readFileSync(edge.postern.config, 'utf8'))
      const routes = document.toJS().routes as { id: string }[]
      const at = routes.findIndex(({ id }) => id === 'create-code-interpreter')
      document.setIn(['routes', at, 'downstream', 'scope'], [manage])
      document.setIn(['identity', 0, 'claims', 'scopes'], 'scope')
      edge.postern.rewrite(String(document))
      const wide = await program(manage)
      await until('the new policy', async () => (await ask(edge, { who: wide, ...made })).served?.claims?.['scope'] === manage, 10_000)
    })
    after(async () => {
      await edge?.stop()
      await redis?.stop()
    })

    it('hands on a token with the route’s scope, for who has it', async () => {
      const wide = await program(`${invoke} ${manage}`)
      const { claims } = isAllowed(await ask(edge, { who: wide, ...made }), { audience: 'workloadmanager', subject: wide.claims.sub })
      assert.equal(claims?.['scope'], manage)
    })

    it('refuses who has less, though the role would do', async () => {
      for (const less of [invoke, undefined])
        isDenied(await ask(edge, { who: await program(less), ...made }), { status: 403, reason: 'exchange_refused' })
    })
  })
})
