import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto'
import type { JsonObject } from '../../../src/core/json.ts'
import { basic, client, issuer, openRig, type Rig, signed, withSecret } from './rig.ts'

const secret = 'it is +s:ecret%'
const grant = { grant_type: 'client_credentials' }
const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
const refusal = { error: 'invalid_client', error_description: 'client authentication failed' }

describe('client authentication', () => {
  let rig: Rig
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const ed = generateKeyPairSync('ed25519')
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const other = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const jwk = (key: KeyObject, kid: string): JsonObject => ({ ...(key.export({ format: 'jwk' }) as JsonObject), kid })
  let keys = [jwk(ec.publicKey, 'ec'), jwk(ed.publicKey, 'ed'), jwk(rsa.publicKey, 'rsa')]

  before(async () => {
    rig = await openRig()
    rig.clients.set('plain', withSecret('plain', secret))
    rig.clients.set('odd:name/', withSecret('odd:name/', secret))
    rig.clients.set('ascii', withSecret('ascii', 'a +%:&=~'))
    rig.clients.set('signs', client('signs', { kind: 'private_key_jwt', jwks: () => ({ keys }) }))
    rig.clients.set('broken', client('broken', { kind: 'private_key_jwt', jwks: () => ({ keys: [{ kty: 'oct', k: 'eA' }] }) }))
  })
  after(() => rig.close())
  afterEach(() => {
    rig.faults.length = 0
  })

  const claims = (more: JsonObject = {}): JsonObject => {
    const now = Math.floor(Date.now() / 1000)
    return { iss: 'signs', sub: 'signs', aud: issuer, iat: now, exp: now + 60, jti: randomUUID(), ...more }
  }
  const shows = (assertion: string, more: Record<string, string> = {}, path = '/token') =>
    rig.post(path, { ...grant, client_assertion_type: assertionType, client_assertion: assertion, ...more })

  describe('by a secret', () => {
    it('takes it from the header, form-encoded as the standard has it, or from the body', async () => {
      const inBody = { ...grant, client_id: 'ascii', client_secret: 'a +%:&=~' }
      for (const answer of [await rig.post('/token', grant, basic('ascii', 'a +%:&=~')), await rig.post('/token', inBody)]) {
        assert.deepEqual([answer.status, answer.json.token_type, answer.json.expires_in], [200, 'Bearer', 60])
      }
      assert.equal((await rig.post('/token', grant, basic('odd:name/', secret))).status, 200)
    })
    it('tells who showed a wrong one in the header how to do it', async () => {
      const { status, json, headers } = await rig.post('/token', grant, basic('ascii', 'wrong'))
      assert.deepEqual([status, json], [401, refusal])
      const expected = `Basic realm="${issuer}", error="invalid_client", error_description="client authentication failed"`
      assert.equal(headers.get('www-authenticate'), expected)
    })
    it('has the audit trail told who could not prove to be whom', async () => {
      rig.acts.length = 0
      await rig.post('/token', grant, basic('ascii', 'wrong'))
      await rig.post('/introspect', { token: 'x' }, basic('made-up', 'wrong'))
      const failed = { type: 'token_refused', outcome: 'failure', reason: 'client_not_authenticated' }
      assert.deepEqual(rig.acts, [
        { ...failed, target: 'ascii', detail: { endpoint: 'token', address: '127.0.0.1' } },
        { ...failed, detail: { endpoint: 'introspect', address: '127.0.0.1' } },
      ])
    })
    it('counts in the trail what comes in floods', async () => {
      rig.clients.set('flooded', withSecret('flooded', 's'))
      rig.acts.length = 0
      for (let i = 0; i < 40; i++) await rig.post('/token', grant, basic('flooded', 'wrong'))
      assert.ok(rig.acts.length >= 20 && rig.acts.length < 40, `${rig.acts.length}`)
    })
    it('takes printable ASCII alone', async () => {
      rig.clients.set('beyond', withSecret('beyond', 'é'))
      assert.equal((await rig.post('/token', grant, basic('beyond', 'é'))).json.error, 'invalid_request')
    })
    for (const [what, form, headers, status] of [
      ['a wrong secret in the body', { client_id: 'ascii', client_secret: 'wrong' }, {}, 401],
      ['a client that nobody knows', {}, basic('nobody', 'secret'), 401],
      ['a client of another method', {}, basic('signs', 'secret'), 401],
      ['two methods at once', { client_id: 'ascii', client_secret: 'a +%:&=~' }, basic('ascii', 'a +%:&=~'), 400],
      ['two names', { client_id: 'plain' }, basic('ascii', 'a +%:&=~'), 400],
      ['a name alone', { client_id: 'ascii' }, {}, 401],
      ['a secret alone', { client_secret: 'a +%:&=~' }, {}, 400],
      ['an empty secret', { client_id: 'ascii', client_secret: '' }, {}, 401],
      ['a bearer token', {}, { authorization: 'Bearer x' }, 400],
      ['a header that is no base64', {}, { authorization: 'Basic %%%' }, 400],
      ['a very long name', {}, basic('x'.repeat(5000), 'secret'), 401],
      ['a name that is a URL', {}, basic('https://client.example/metadata.json', 'secret'), 401],
    ] as const) {
      it(`refuses ${what}`, async () => {
        const answer = await rig.post('/token', { ...grant, ...form }, headers)
        assert.equal(answer.status, status, answer.text)
        assert.equal(answer.json.error, status === 401 ? 'invalid_client' : 'invalid_request')
        assert.deepEqual(rig.faults, [])
      })
    }
    it('refuses a request without any', async () => {
      const { status, json, headers } = await rig.post('/token', grant)
      assert.deepEqual([status, json], [401, { error: 'invalid_client', error_description: 'client authentication is required' }])
      assert.equal(headers.get('www-authenticate'), `Basic realm="${issuer}"`)
    })
    it('refuses a name that comes twice', async () => {
      const { status, json } = await rig.post('/token', { ...grant, client_id: ['ascii', 'ascii'], client_secret: 'a +%:&=~' })
      assert.deepEqual([status, json.error], [400, 'invalid_request'])
    })
  })

  describe('by private_key_jwt', () => {
    for (const [alg, kid, key] of [
      ['ES256', 'ec', ec.privateKey],
      ['EdDSA', 'ed', ed.privateKey],
      ['RS256', 'rsa', rsa.privateKey],
    ] as const) {
      it(`takes ${alg}`, async () => {
        const { status, text } = await shows(signed({ alg, kid }, claims(), key))
        assert.equal(status, 200, text)
      })
    }
    it('takes the endpoint for an audience, under the name of the issuer alone', async () => {
      const by = (aud: string | string[], path = '/token') =>
        shows(signed({ alg: 'ES256', kid: 'ec' }, claims({ aud }), ec.privateKey), { token: 'x' }, path)
      assert.equal((await by(`${issuer}/token`)).status, 200)
      assert.equal((await by(['https://else.example', issuer])).status, 200)
      assert.equal((await by(`${issuer}/introspect`, '/introspect')).status, 200)
      assert.equal((await by(`${issuer}/introspect`)).status, 401)
      assert.equal((await by(`${rig.url}/token`)).status, 401)
    })
    it('takes an assertion once, also of two at the same time', async () => {
      const assertion = signed({ alg: 'ES256', kid: 'ec' }, claims(), ec.privateKey)
      const answers = await Promise.all([shows(assertion), shows(assertion), shows(assertion)])
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 401, 401])
      assert.deepEqual((await shows(assertion)).json, refusal)
    })
    it('takes keys as they are at the moment', async () => {
      const before = keys
      const assertion = () => signed({ alg: 'ES256', kid: 'new' }, claims(), other.privateKey)
      assert.equal((await shows(assertion())).status, 401)
      keys = [...keys, jwk(other.publicKey, 'new')]
      assert.equal((await shows(assertion())).status, 200)
      keys = before
      assert.equal((await shows(assertion())).status, 401)
    })
    const past = Math.floor(Date.now() / 1000) - 600
    const hmac = (payload: JsonObject): string => {
      const input = [{ alg: 'HS256', kid: 'ec' }, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
      return `${input}.${createHmac('sha256', ec.publicKey.export({ type: 'spki', format: 'pem' }))
        .update(input)
        .digest('base64url')}`
    }
    const es = (more: JsonObject, key = ec.privateKey): string => signed({ alg: 'ES256', kid: 'ec' }, claims(more), key)
    for (const [what, make] of [
      ['of the wrong audience', () => es({ aud: 'https://else.example' })],
      ['without audience', () => es({ aud: '' })],
      ['that has expired', () => es({ exp: past })],
      ['that does not expire', () => es({ exp: 0 })],
      ['that lives for a day', () => es({ exp: Math.floor(Date.now() / 1000) + 86_400 })],
      ['that is not valid yet', () => es({ nbf: Math.floor(Date.now() / 1000) + 600 })],
      ['without jti', () => es({ jti: '' })],
      ['of another issuer', () => es({ iss: 'plain' })],
      ['of another key', () => es({}, other.privateKey)],
      ['by HMAC over the public key', () => hmac(claims())],
      [
        'by none',
        () =>
          `${es({})
            .split('.')
            .map((part, i) => (i === 0 ? Buffer.from('{"alg":"none"}').toString('base64url') : i === 2 ? '' : part))
            .join('.')}`,
      ],
      ['of a client of another method', () => es({ iss: 'plain', sub: 'plain' })],
      ['of a client that nobody knows', () => es({ iss: 'nobody', sub: 'nobody' })],
    ] as const) {
      it(`refuses an assertion ${what}`, async () => {
        const { status, json, text } = await shows(make())
        assert.deepEqual([status, json], [401, refusal], text)
        assert.deepEqual(rig.faults, [])
      })
    }
    it('refuses what is no assertion, or not of the type', async () => {
      assert.equal((await shows('abc')).json.error, 'invalid_request')
      const { json } = await shows(es({}), { client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:saml2-bearer' })
      assert.equal(json.error, 'invalid_request')
    })
    it('refuses a client whose keys cannot be used, and tells us', async () => {
      const { status, json } = await shows(es({ iss: 'broken', sub: 'broken' }))
      assert.deepEqual([status, json], [401, refusal])
      assert.equal(rig.faults.length, 1)
    })
  })
})

describe('failed client authentications', () => {
  it('are limited by address, those that succeed are not', async () => {
    const rig = await openRig({ mode: 'none' }, issuer, true)
    try {
      rig.clients.set('a', withSecret('a', 's'))
      for (let i = 0; i < 30; i++) assert.equal((await rig.post('/token', grant, basic('a', 's'))).status, 200)
      const wrong = await Promise.all(Array.from({ length: 40 }, () => rig.post('/token', grant, basic('a', 'wrong'))))
      assert.ok(wrong.filter(({ status }) => status === 401).length >= 20)
      const limited = await rig.post('/introspect', { token: 'x' }, basic('a', 's'))
      assert.equal(limited.status, 429)
      assert.equal(limited.json.error, 'temporarily_unavailable')
      assert.ok(Number(limited.headers.get('retry-after')) >= 1)
      assert.equal(limited.headers.get('cache-control'), 'no-store')
    } finally {
      await rig.close()
    }
  })
  it('are also those of who has no client', async () => {
    const rig = await openRig({ mode: 'none' }, issuer, true)
    try {
      rig.offered = { grants: [], federation: true }
      rig.clients.set('federated', client('federated', { kind: 'federated', rule: 'any' }, { grants: ['token_exchange'] }))
      const swap = { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange', subject_token: 'x.y.z' }
      for (let i = 0; i < 30; i++) assert.equal((await rig.post('/token', swap)).status, 200)
      await Promise.all(Array.from({ length: 40 }, () => rig.post('/token', { ...swap, scope: 'too:wide' })))
      assert.equal((await rig.post('/token', swap)).status, 429)
    } finally {
      await rig.close()
    }
  })
})
