import assert from 'node:assert/strict'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import * as oauth from 'openid-client'
import { secret, startTokenService, type TokenServiceRun } from './service.ts'

const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
const accessToken = 'urn:ietf:params:oauth:token-type:access_token'

describe('openid-client, by discovery alone', function () {
  this.timeout(30_000)
  let run: TokenServiceRun
  const discover = (id: string, auth: oauth.ClientAuth, algorithm: 'oidc' | 'oauth2' = 'oauth2') =>
    oauth.discovery(new URL(run.issuer), id, undefined, auth, { execute: [oauth.allowInsecureRequests], algorithm })

  before(async () => {
    run = await startTokenService()
  })
  after(() => run.stop())

  for (const [how, auth] of [
    ['in the header', oauth.ClientSecretBasic],
    ['in the body', oauth.ClientSecretPost],
  ] as const) {
    it(`gets tokens of its own with a secret ${how}, asks about them, and revokes them`, async () => {
      const client = await discover('backend', auth(secret), how === 'in the body' ? 'oidc' : 'oauth2')
      const tokens = await oauth.clientCredentialsGrant(client, { scope: 'read:data:1' })
      assert.equal(tokens.token_type, 'bearer')
      assert.equal(tokens.scope, 'read:data:1')
      assert.equal(decodeProtectedHeader(tokens.access_token).typ, 'at+jwt')
      const told = await oauth.tokenIntrospection(client, tokens.access_token)
      assert.deepEqual(
        [told.active, told.iss, told.aud, told.client_id, told.scope, told['jti']],
        [true, run.issuer, 'postern', 'backend', 'read:data:1', decodeJwt(tokens.access_token).jti],
      )
      await oauth.tokenRevocation(client, tokens.access_token)
      assert.deepEqual(await oauth.tokenIntrospection(client, tokens.access_token), { active: false })
    })
  }
  it('exchanges a user’s token', async () => {
    const client = await discover('backend', oauth.ClientSecretBasic(secret))
    const subject = await run.users.mint({ sub: 'alice', aud: 'app', roles: ['reader'], scope: 'read:data:1 write:data:1' })
    const tokens = await oauth.genericGrantRequest(client, exchange, {
      subject_token: subject,
      subject_token_type: accessToken,
      audience: 'api',
      scope: 'read:data:1',
    })
    assert.equal(tokens['issued_token_type'], accessToken)
    const claims = decodeJwt(tokens.access_token)
    assert.deepEqual([claims.sub, claims.aud, claims['scope'], claims['act']], ['alice', 'api', 'read:data:1', { sub: 'backend' }])
    const told = await oauth.tokenIntrospection(client, tokens.access_token)
    assert.deepEqual([told.active, told.sub, told['act']], [true, 'alice', { sub: 'backend' }])
  })
  it('is told why it gets nothing', async () => {
    const client = await discover('backend', oauth.ClientSecretPost(secret))
    const refusal = async (work: Promise<unknown>) => {
      try {
        await work
      } catch (cause) {
        if (cause instanceof oauth.ResponseBodyError) return [cause.status, cause.error]
        throw cause
      }
      return undefined
    }
    const subject = await run.users.mint({ sub: 'alice', aud: 'app' })
    const shown = { subject_token: subject, subject_token_type: accessToken }
    assert.deepEqual(await refusal(oauth.clientCredentialsGrant(client, { scope: 'admin:all:*' })), [400, 'invalid_scope'])
    assert.deepEqual(await refusal(oauth.genericGrantRequest(client, exchange, { ...shown, audience: 'elsewhere' })), [
      400,
      'invalid_target',
    ])
    assert.deepEqual(await refusal(oauth.genericGrantRequest(client, exchange, { ...shown, subject_token: 'x.y.z' })), [
      400,
      'invalid_grant',
    ])
    const wrong = await discover('backend', oauth.ClientSecretPost('wrong'))
    assert.deepEqual(await refusal(oauth.clientCredentialsGrant(wrong)), [401, 'invalid_client'])
  })
  it('proves who it is by a key', async () => {
    const client = await discover('signer', oauth.PrivateKeyJwt({ key: run.signing.key, kid: run.signing.kid }))
    const tokens = await oauth.clientCredentialsGrant(client)
    const told = await oauth.tokenIntrospection(client, tokens.access_token)
    assert.deepEqual([told.active, told.client_id], [true, 'signer'])
  })
})
