import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { jwtVerify } from 'jose'
import type { Asked, StsAnswer } from '../../src/adapters/sts-answer.ts'
import { openStsClient, type StsClient, type StsClientOptions } from '../../src/adapters/sts-client.ts'
import type { Principal } from '../../src/core/principal.ts'
import { json, type LocalServer, localServer } from './local-server.ts'

const now = 1_800_000_000_000
const t = now / 1000
const subjectToken = 'subject.token.secret'
const principal: Principal = {
  validator: 'users',
  issuer: 'https://idp.example',
  subject: 'u:alice',
  rawSubject: 'alice',
  roles: [],
  scopes: ['invoke:sandbox:*'],
  claims: { sub: 'alice', scope: 'email profile' },
  issuedAt: t,
  expiresAt: t + 300,
  digest: 'd',
  subjectToken,
}
const asked: Asked = { principal, audience: 'picod', scope: [], ttl: 60, now }
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const good = { sub: 'alice', aud: 'picod', exp: t + 200 }
const jwt = (claims: object): string => `${encode({ alg: 'RS256' })}.${encode(claims)}.c2ln`
const answerOf = (claims: object, more: object = {}): object => ({
  access_token: jwt(claims),
  issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  token_type: 'Bearer',
  ...more,
})

describe('sts client', () => {
  let server: LocalServer
  let client: StsClient | undefined
  let clock: number
  const open = (more: Partial<StsClientOptions> = {}): StsClient => {
    client = openStsClient({
      name: 'kc',
      tokenEndpoint: `${server.url}/token`,
      clientId: 'router',
      auth: { method: 'secret', secret: () => 's3cret' },
      timeoutMs: 150,
      allowOpaque: false,
      subjectsOf: 'users',
      breaker: { clock: () => clock },
      ...more,
    })
    return client
  }
  const answers = (body: unknown, status = 200) => {
    server.handle = (_, response) => json(response, body, status)
  }
  const kindOf = async (body: unknown, ask: Partial<Asked> = {}, more: Partial<StsClientOptions> = {}): Promise<string> => {
    answers(body)
    const answer = await open(more).exchange({ ...asked, ...ask })
    if (answer.kind !== 'token') assert.match(answer.detail, /^sts kc: /)
    return answer.kind
  }
  beforeEach(async () => {
    clock = 0
    server = await localServer((_, response) => json(response, answerOf(good)))
  })
  afterEach(async () => {
    client?.close()
    await server.stop()
  })

  it('asks as RFC 8693 says', async () => {
    const answer = await open().exchange({ ...asked, scope: ['a', 'b'] })
    assert.deepEqual(answer, { kind: 'token', token: jwt(good), expiresAt: t + 200 })
    const [{ method, path, headers, body }] = server.seen as [(typeof server.seen)[0]]
    assert.deepEqual([method, path, headers['content-type']], ['POST', '/token', 'application/x-www-form-urlencoded'])
    assert.deepEqual(Object.fromEntries(new URLSearchParams(body)), {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token: subjectToken,
      subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      requested_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      audience: 'picod',
      scope: 'a b',
    })
  })

  describe('proves itself', () => {
    it('by secret, form-encoded, read anew each time', async () => {
      let secret = 'a b:ü%'
      const sts = open({ clientId: 'r:1', auth: { method: 'secret', secret: () => secret } })
      await sts.exchange(asked)
      secret = 'next'
      await sts.exchange(asked)
      const sent = server.seen.map((seen) => Buffer.from(String(seen.headers.authorization).replace('Basic ', ''), 'base64').toString())
      assert.deepEqual(sent, ['r%3A1:a+b%3A%C3%BC%25', 'r%3A1:next'])
      assert.equal(new URLSearchParams(server.seen[0]!.body).has('client_id'), false)
    })
    it('by private_key_jwt', async () => {
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
      const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
      await open({ auth: { method: 'private_key_jwt', key: () => pem, kid: 'c1' } }).exchange(asked)
      const form = new URLSearchParams(server.seen[0]!.body)
      assert.equal(form.get('client_id'), 'router')
      assert.equal(form.get('client_assertion_type'), 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
      const { payload, protectedHeader } = await jwtVerify(form.get('client_assertion')!, createPublicKey(privateKey), {
        issuer: 'router',
        subject: 'router',
        audience: `${server.url}/token`,
        requiredClaims: ['jti', 'exp', 'iat'],
      })
      assert.equal(payload.exp! - payload.iat!, 60)
      assert.equal(protectedHeader.kid, 'c1')
    })
    it('is unavailable where its own key cannot be used', async () => {
      const answer = await open({ auth: { method: 'private_key_jwt', key: () => 'nonsense' } }).exchange(asked)
      assert.equal(answer.kind, 'unavailable')
    })
  })

  const refusedClaims: Record<string, object> = {
    'another subject': { ...good, sub: 'bob' },
    'no subject': { aud: 'picod', exp: t + 200 },
    'another audience': { ...good, aud: 'other' },
    'an audience more': { ...good, aud: ['picod', 'account'] },
    'no audience': { sub: 'alice', exp: t + 200 },
    'no exp': { sub: 'alice', aud: 'picod' },
    'exp as text': { ...good, exp: String(t + 200) },
    'an expired token': { ...good, exp: t },
    'a later end than the subject token’s': { ...good, exp: t + 361 },
    'wider scope': { ...good, scope: 'email admin' },
    'scope as a list': { ...good, scope: ['email'] },
  }
  for (const [name, claims] of Object.entries(refusedClaims)) {
    it(`refuses ${name}`, async () => assert.equal(await kindOf(answerOf(claims)), 'refused'))
  }
  const refusedAnswers: Record<string, object> = {
    'no token': { token_type: 'Bearer' },
    'a token that is an object': { access_token: {}, token_type: 'Bearer' },
    'a token with a line break': { access_token: 'a\r\nx: y', token_type: 'Bearer' },
    'a token over 8 KiB': { access_token: 'x'.repeat(8193), token_type: 'Bearer' },
    'no token_type': { access_token: jwt(good) },
    'token_type N_A': answerOf(good, { token_type: 'N_A' }),
    'a refresh token': answerOf(good, { issued_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' }),
    'an opaque token': { access_token: 'opaque', token_type: 'Bearer' },
  }
  for (const [name, body] of Object.entries(refusedAnswers)) {
    it(`refuses ${name}`, async () => assert.equal(await kindOf(body), 'refused'))
  }
  it('takes a single audience in a list, an end within the skew, and bearer in small letters', async () => {
    assert.equal(await kindOf(answerOf({ ...good, aud: ['picod'], exp: t + 360 }, { token_type: 'bearer' })), 'token')
  })
  it('holds scope against what was asked, else against the subject token', async () => {
    assert.equal(await kindOf(answerOf({ ...good, scope: 'email invoke:sandbox:s1' })), 'token')
    assert.equal(await kindOf(answerOf({ ...good, scope: 'a' }), { scope: ['a', 'b'] }), 'token')
    assert.equal(await kindOf(answerOf({ ...good, scope: 'a email' }), { scope: ['a'] }), 'refused')
    assert.equal(await kindOf(answerOf(good, { scope: 'admin' })), 'refused')
  })
  it('takes opaque tokens only where told to, and bounds their life', async () => {
    const life = async (body: object): Promise<StsAnswer> => {
      answers({ access_token: 'opaque', token_type: 'Bearer', ...body })
      return open({ allowOpaque: true }).exchange(asked)
    }
    assert.deepEqual(await life({ expires_in: 30 }), { kind: 'token', token: 'opaque', expiresAt: t + 30 })
    assert.deepEqual(await life({}), { kind: 'token', token: 'opaque', expiresAt: t + 60 })
    assert.deepEqual(await life({ expires_in: 9999 }), { kind: 'token', token: 'opaque', expiresAt: t + 360 })
    assert.equal((await life({ expires_in: 'x' })).kind, 'refused')
    assert.equal((await life({ scope: 'admin' })).kind, 'refused')
  })
  it('exchanges only for its own validator, and only with the subject token', async () => {
    const sts = open()
    const { subjectToken: _, ...without } = principal
    assert.equal((await sts.exchange({ ...asked, principal: { ...principal, validator: 'other' } })).kind, 'refused')
    assert.equal((await sts.exchange({ ...asked, principal: without })).kind, 'refused')
    assert.equal(server.seen.length, 0)
  })

  for (const status of [400, 401, 403]) {
    it(`is refused by ${status}, with the endpoint’s code and nothing else of it`, async () => {
      answers({ error: 'invalid_request', error_description: `bad ${subjectToken}` }, status)
      assert.deepEqual(await open().exchange(asked), { kind: 'refused', detail: `sts kc: answered ${status}: invalid_request` })
      assert.equal(server.seen.length, 1)
    })
  }
  it('does not repeat a code that could be a token', async () => {
    answers({ error: `${subjectToken} !` }, 400)
    assert.deepEqual(await open().exchange(asked), { kind: 'refused', detail: 'sts kc: answered 400: no error code' })
  })

  const outages: Record<string, [handle: LocalServer['handle'], calls: number]> = {
    '500': [(_, response) => json(response, {}, 500), 2],
    '429': [(_, response) => json(response, {}, 429), 2],
    '404': [(_, response) => json(response, {}, 404), 1],
    'a hang': [() => {}, 2],
    'a broken connection': [(_, response: ServerResponse) => void response.destroy(), 2],
    '10 MB': [(_, response) => void response.end('x'.repeat(10_000_000)), 1],
    'no JSON': [(_, response) => void response.end('<html>'), 1],
    'a redirect': [(_, response) => void response.writeHead(307, { location: '/x' }).end(), 1],
  }
  for (const [name, [handle, calls]] of Object.entries(outages)) {
    it(`is unavailable after ${name}, in ${calls} calls`, async () => {
      server.handle = handle
      assert.equal((await open().exchange(asked)).kind, 'unavailable')
      assert.equal(server.seen.length, calls)
    })
  }
  it('gets through at the second try', async () => {
    server.handle = (_, response) => (server.seen.length === 1 ? json(response, {}, 502) : json(response, answerOf(good)))
    assert.equal((await open().exchange(asked)).kind, 'token')
  })

  it('stops asking after five failures, and tries one call after 5 s', async () => {
    const sts = open()
    server.handle = (_, response) => json(response, {}, 404)
    for (let i = 0; i < 5; i++) await sts.exchange(asked)
    assert.equal(sts.breaker(), 'open')
    assert.equal((await sts.exchange(asked)).kind, 'unavailable')
    assert.equal(server.seen.length, 5)
    clock = 5000
    assert.equal(sts.breaker(), 'half-open')
    await Promise.all([sts.exchange(asked), sts.exchange(asked), sts.exchange(asked)])
    assert.equal(server.seen.length, 6, 'one probe')
    assert.equal(sts.breaker(), 'open')
    clock = 10_000
    answers(answerOf(good))
    assert.equal((await sts.exchange(asked)).kind, 'token')
    assert.equal(sts.breaker(), 'closed')
  })
  it('does not count refusals as failures', async () => {
    const sts = open()
    answers({ error: 'invalid_grant' }, 400)
    for (let i = 0; i < 8; i++) await sts.exchange(asked)
    assert.equal(sts.breaker(), 'closed')
  })
})
