import assert from 'node:assert/strict'
import { issuerEndpoints } from '../../src/issuer/endpoints.ts'

const issuer = 'https://postern.example/sts'
const app = issuerEndpoints({ issuer, jwks: () => ({ keys: [{ kid: 'k' }] }), tls: true })
const plain = issuerEndpoints({ issuer: 'http://127.0.0.1:9193', jwks: () => ({ keys: [] }), tls: false })

describe('issuer endpoints', () => {
  for (const path of [
    '/.well-known/openid-configuration',
    '/.well-known/oauth-authorization-server',
    '/sts/.well-known/openid-configuration',
    '/.well-known/oauth-authorization-server/sts',
  ]) {
    it(`describes the issuer at ${path}`, async () => {
      const answer = await app.request(path)
      assert.equal(answer.status, 200)
      assert.deepEqual(await answer.json(), {
        issuer,
        jwks_uri: `${issuer}/jwks.json`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
        claims_supported: [
          ...['iss', 'sub', 'aud', 'exp', 'iat', 'jti'],
          ...['client_id', 'scope', 'roles', 'act', 'cnf', 'task_id', 'orch_id', 'resource'],
        ],
      })
    })
  }
  it('names the token service while there is one', async () => {
    let served: object | undefined
    const full = issuerEndpoints({ issuer, jwks: () => ({ keys: [] }), tokenService: () => served, tls: true })
    const read = async () => (await (await full.request('/.well-known/openid-configuration')).json()) as Record<string, unknown>
    assert.ok(!('token_endpoint' in (await read())))
    served = { token_endpoint: `${issuer}/token` }
    assert.equal((await read())['token_endpoint'], `${issuer}/token`)
  })
  it('serves the keys of the moment, to be kept for a while', async () => {
    const answer = await app.request('/sts/jwks.json')
    assert.deepEqual(await answer.json(), { keys: [{ kid: 'k' }] })
    assert.equal(answer.headers.get('cache-control'), 'public, max-age=300')
  })
  it('answers HEAD, and nothing but GET and HEAD', async () => {
    assert.equal((await app.request('/jwks.json', { method: 'HEAD' })).status, 200)
    const answer = await app.request('/jwks.json', { method: 'POST', body: 'x' })
    assert.deepEqual(
      [answer.status, answer.headers.get('allow'), answer.headers.get('content-type')],
      [405, 'GET, HEAD', 'application/problem+json'],
    )
  })
  it('knows no other path', async () => {
    const answer = await app.request('/token')
    assert.deepEqual([answer.status, await answer.json()], [404, { type: 'about:blank', title: 'Nothing is here', status: 404 }])
    assert.equal(answer.headers.get('cache-control'), 'no-store')
  })
  it('protects every answer', async () => {
    for (const path of ['/jwks.json', '/nothing']) {
      const { headers } = await app.request(path)
      assert.equal(headers.get('x-content-type-options'), 'nosniff')
      assert.equal(headers.get('x-frame-options'), 'DENY')
      assert.match(headers.get('strict-transport-security') ?? '', /^max-age=/)
      assert.equal((await plain.request(path)).headers.get('strict-transport-security'), null)
    }
  })
  it('tells nothing of an error', async () => {
    const broken = issuerEndpoints({
      issuer,
      jwks: () => {
        throw new Error('secret')
      },
      tls: false,
    })
    const answer = await broken.request('/jwks.json')
    assert.equal(answer.status, 500)
    assert.ok(!(await answer.text()).includes('secret'))
    assert.equal(answer.headers.get('cache-control'), 'no-store')
  })

  it('tells which document was asked for, never the path', async () => {
    const seen: string[] = []
    const watched = issuerEndpoints({ issuer, jwks: () => ({ keys: [] }), tls: false, observe: (endpoint) => seen.push(endpoint) })
    for (const path of ['/jwks.json', '/secret-path']) await watched.request(path)
    await watched.request('/jwks.json', { method: 'POST' })
    assert.deepEqual(seen, ['GET /jwks.json', 'other', 'other'])
  })
})
