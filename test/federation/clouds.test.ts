import assert from 'node:assert/strict'
import { createLocalJWKSet, type JSONWebKeySet, jwtVerify } from 'jose'
import { gcpAudience } from '../../src/cli/connect-gcp.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { policyWith } from './rig.ts'

const google = gcpAudience({ projectNumber: '104857600000', pool: 'agents', provider: 'postern' })
const audiences = [google, 'sts.amazonaws.com', 'api://AzureADTokenExchange']
const secret = 'S5mVq0zWb8rXk2LdT7hYc4nJ1pGf9aEu'

describe('our issuer as clouds see it', function () {
  this.timeout(30_000)
  let postern: RunningPostern
  let folder: TemporaryFolder
  let issuer: string
  before(async () => {
    folder = temporaryFolder()
    const [admin = 0, own = 0] = await freePorts(2)
    issuer = `http://127.0.0.1:${own}`
    const listen = {
      check: { address: `unix:${folder.file('check.sock')}` },
      admin: { address: `127.0.0.1:${admin}` },
      issuer: { address: `127.0.0.1:${own}` },
    }
    const client = { id: 'runner', auth: { secret: `\${env:RUNNER_SECRET}` }, grants: ['client_credentials'], audiences, ttl: '10m' }
    const policy = policyWith([], { listen, issuer: { algorithm: 'RS256', clients: [client] } })
    postern = await startPostern(policy, { folder, env: { RUNNER_SECRET: secret } })
  })
  after(async () => {
    await postern?.stop()
    folder.remove()
  })

  const get = async (url: string): Promise<Readonly<Record<string, unknown>>> => {
    const response = await fetch(url, { redirect: 'error' })
    assert.equal(response.status, 200)
    assert.match(response.headers.get('content-type') ?? '', /json/)
    return (await response.json()) as Record<string, unknown>
  }

  it('has a discovery document with all that OpenID Connect Discovery demands of relying parties', async () => {
    const document = await get(`${issuer}/.well-known/openid-configuration`)
    assert.equal(document['issuer'], issuer)
    assert.equal(new URL(String(document['jwks_uri'])).origin, issuer)
    for (const name of ['response_types_supported', 'subject_types_supported', 'id_token_signing_alg_values_supported'])
      assert.ok(Array.isArray(document[name]) && document[name].length > 0, `${name}: ${JSON.stringify(document[name])}`)
    assert.ok((document['id_token_signing_alg_values_supported'] as string[]).includes('RS256'))
    assert.deepEqual(document['subject_types_supported'], ['public'])
  })
  it('has keys that say what they are for', async () => {
    const { jwks_uri } = await get(`${issuer}/.well-known/openid-configuration`)
    const { keys } = (await get(String(jwks_uri))) as { keys: Record<string, string>[] }
    const signing = keys.filter(({ alg }) => alg === 'RS256')
    assert.ok(signing.length > 0)
    for (const { kty, use, kid, n, d } of signing) {
      assert.deepEqual([kty, use, d], ['RSA', 'sig', undefined])
      assert.ok(kid && n)
    }
  })
  for (const audience of audiences)
    it(`gives a client a token for ${audience}`, async () => {
      const response = await fetch(`${issuer}/token`, {
        method: 'POST',
        headers: { authorization: `Basic ${Buffer.from(`runner:${secret}`).toString('base64')}` },
        body: new URLSearchParams({ grant_type: 'client_credentials', audience }),
      })
      const body = (await response.json()) as { access_token: string }
      assert.equal(response.status, 200, JSON.stringify(body))
      const { jwks_uri } = await get(`${issuer}/.well-known/openid-configuration`)
      const keys = createLocalJWKSet((await get(String(jwks_uri))) as unknown as JSONWebKeySet)
      const { payload, protectedHeader } = await jwtVerify(body.access_token, keys, {
        issuer,
        audience,
        algorithms: ['RS256'],
        requiredClaims: ['iss', 'sub', 'aud', 'iat', 'exp'],
      })
      assert.ok(protectedHeader.kid)
      assert.equal(payload.aud, audience)
      assert.ok(Buffer.byteLength(payload.sub ?? '') <= 127)
      assert.ok((payload.exp ?? 0) - (payload.iat ?? 0) < 48 * 3600)
    })
})
