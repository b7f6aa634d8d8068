import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { decodeJwt } from 'jose'
import { signToken } from '../../identity/tokens.ts'
import { adminSecret } from '../../support/admin.ts'
import { freePorts } from '../../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../../support/oidc.ts'
import { type RunningPostern, startPostern } from '../../support/postern.ts'
import { createStops } from '../../support/stops.ts'
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary-folder.ts'

const policy = readFileSync(new URL('fixture.yaml', import.meta.url), 'utf8')
const secret = 'a secret of the router in tests'
const exchangeGrant = 'urn:ietf:params:oauth:grant-type:token-exchange'
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, string>
}

describe('the token service with a policy', function () {
  this.timeout(60_000)
  let oidc: OidcIssuer
  let folder: TemporaryFolder
  let issuer: string
  let stops: ReturnType<typeof createStops>
  let service: RunningPostern

  const start = async (text: string): Promise<void> => {
    const [admin, at, check] = await freePorts(3)
    issuer = `http://127.0.0.1:${at}`
    const filled = text
      .replaceAll('@issuer@', `127.0.0.1:${at}`)
      .replaceAll('@admin@', `127.0.0.1:${admin}`)
      .replaceAll('@check@', `127.0.0.1:${check}`)
      .replaceAll('@keycloak@', oidc.issuer)
    service = stops.started(await startPostern(filled, { folder, env: { POSTERN_TEST_ADMIN_SECRET: adminSecret, ROUTER_SECRET: secret } }))
  }
  beforeEach(async () => {
    folder = temporaryFolder()
    stops = createStops(folder.remove)
    oidc = stops.started(await startOidc())
  })
  afterEach(() => stops.stop())

  const ask = async (form: Record<string, string>, headers: Record<string, string> = {}, known = true): Promise<Answer> => {
    const authorization = known ? { authorization: `Basic ${Buffer.from(`router:${encodeURIComponent(secret)}`).toString('base64')}` } : {}
    const response = await fetch(`${issuer}/token`, {
      method: 'POST',
      headers: { ...authorization, ...headers },
      body: new URLSearchParams(form),
    })
    return { status: response.status, headers: response.headers, body: (await response.json()) as Record<string, string> }
  }
  const exchange = (subject_token: string, headers = {}, known = true) =>
    ask({ grant_type: exchangeGrant, subject_token, subject_token_type: jwtType }, headers, known)
  const user = (over: Record<string, unknown> = {}) =>
    oidc.mint({ sub: 'alice', aud: 'gateway', typ: 'Bearer', realm_access: { roles: ['member', 'root'] }, ...over })

  it('verifies here what Envoy verifies at the edge, by the same rules', async () => {
    await start(policy.replace('@verified@', 'envoy'))
    const { status, body } = await exchange(await user())
    assert.equal(status, 200, JSON.stringify(body))
    const claims = decodeJwt(body['access_token']!)
    // may_assert leaves out what the validator may not give.
    assert.deepEqual([claims.sub, claims['roles'], claims['act']], ['user:alice', ['member'], { sub: 'router' }])
    // A logout token, an ID token of Keycloak, another audience.
    for (const token of [await user({ typ: 'Logout' }), await user({ typ: 'ID' }), await user({ aud: 'account' })])
      assert.deepEqual((await exchange(token)).body['error'], 'invalid_grant')
    assert.equal((await exchange(`${(await user()).slice(0, -4)}AAAA`)).body['error'], 'invalid_grant')
  })

  it('answers 503 while an issuer’s keys cannot be had, and 200 once they can', async () => {
    oidc.behave('fails')
    await start(policy.replace('@verified@', 'postern'))
    const token = await user()
    const down = await exchange(token)
    assert.deepEqual([down.status, down.body['error']], [503, 'temporarily_unavailable'])
    oidc.behave('well')
    for (let i = 0; i < 100 && (await exchange(token)).status !== 200; i++) await new Promise((done) => setTimeout(done, 100))
    assert.equal((await exchange(token)).status, 200)
  })

  it('asks for a nonce where the policy does, and binds to the key of the proof', async () => {
    await start(`${policy.replace('@verified@', 'postern')}dpop: { nonce: required }\n`)
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = publicKey.export({ format: 'jwk' })
    const proof = (nonce?: string): Record<string, string> => {
      const claims = { htm: 'POST', htu: `${issuer}/token`, iat: Math.floor(Date.now() / 1000), jti: String(Math.random()), nonce }
      return { dpop: signToken({ typ: 'dpop+jwt', alg: 'ES256', jwk }, claims, privateKey) }
    }
    const token = await user()
    const first = await exchange(token, proof())
    assert.deepEqual([first.status, first.body['error']], [400, 'use_dpop_nonce'])
    const nonce = first.headers.get('dpop-nonce')
    assert.ok(nonce)
    const used = proof(nonce)
    const second = await exchange(token, used)
    assert.deepEqual([second.status, second.body['token_type']], [200, 'DPoP'], JSON.stringify(second.body))
    assert.ok(decodeJwt(second.body['access_token']!)['cnf'])
    assert.equal((await exchange(token, used)).body['error'], 'invalid_dpop_proof')
  })

  it('swaps the token of a workload without a client by a federation rule, and no user’s', async () => {
    const rule = `  federation:
    - { name: ci, issuer: "${oidc.issuer}/", jwks: { uri: "${oidc.jwksUri}" }, audience: sts, subject: "ci:{repository}", roles: [runner], scopes: ["deploy:app:*"], ttl: 5m }
`
    await start(policy.replace('@verified@', 'postern') + rule)
    const job = await oidc.mint({ iss: `${oidc.issuer}/`, sub: 'x', aud: 'sts', repository: 'app' })
    const { status, body } = await exchange(job, {}, false)
    assert.equal(status, 200, JSON.stringify(body))
    const claims = decodeJwt(body['access_token']!)
    assert.deepEqual(
      [claims.sub, claims.aud, claims['roles'], claims['act'], claims['scope']],
      ['ci:app', 'postern', ['runner'], undefined, 'deploy:app:*'],
    )
    assert.equal((await exchange(await user(), {}, false)).body['error'], 'invalid_grant')
    // The router may show users of keycloak alone.
    assert.equal((await exchange(job)).body['error'], 'invalid_grant')
  })

  it('refreshes after a restart, and knows a spent refresh token again', async () => {
    const kept = policy.replace('@verified@', 'postern').replace('"memory:"', 'file:./postern.db')
    await start(kept)
    const before = issuer
    const { body } = await exchange(await user())
    const next = await ask({ grant_type: 'refresh_token', refresh_token: body['refresh_token']! })
    assert.equal(next.status, 200, JSON.stringify(next.body))
    await service.kill()
    service = stops.started(
      await startPostern(readFileSync(service.config, 'utf8'), {
        folder,
        env: { POSTERN_TEST_ADMIN_SECRET: adminSecret, ROUTER_SECRET: secret },
      }),
    )
    assert.equal(issuer, before)
    const third = await ask({ grant_type: 'refresh_token', refresh_token: next.body['refresh_token']! })
    assert.equal(third.status, 200, JSON.stringify(third.body))
    assert.equal((await ask({ grant_type: 'refresh_token', refresh_token: body['refresh_token']! })).body['error'], 'invalid_grant')
    assert.equal((await ask({ grant_type: 'refresh_token', refresh_token: third.body['refresh_token']! })).body['error'], 'invalid_grant')
  })

  it('ends with a refresh token that is revoked all that came of it', async () => {
    await start(policy.replace('@verified@', 'postern'))
    const { body } = await exchange(await user())
    const post = (path: string, form: Record<string, string>) =>
      fetch(`${issuer}${path}`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`router:${encodeURIComponent(secret)}`).toString('base64')}` },
        body: new URLSearchParams(form),
      })
    const active = async () => ((await (await post('/introspect', { token: body['access_token']! })).json()) as { active: boolean }).active
    assert.equal(await active(), true)
    assert.equal((await post('/revoke', { token: body['refresh_token']! })).status, 200)
    assert.equal(await active(), false)
    assert.equal((await ask({ grant_type: 'refresh_token', refresh_token: body['refresh_token']! })).body['error'], 'invalid_grant')
  })
})
