import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { type Caller, createVerifier, type Demand, jwtGuard, openKeys, Refusal, type Verifier } from '../../sdk/typescript/src/index.ts'
import { handMadeToken, type OidcIssuer, startOidc } from '../support/oidc.ts'

const audience = 'picod'
const demand: Demand = { resource: 'sandbox:s1' }

/** What a check ended with: the status and code, or the caller. */
const outcome = async (result: Promise<Caller>): Promise<string> => {
  try {
    return (await result).subject
  } catch (cause) {
    assert.ok(cause instanceof Refusal, String(cause))
    return `${cause.status} ${cause.error}`
  }
}

describe('verification of downstream tokens', () => {
  let issuer: OidcIssuer
  let verifier: Verifier
  before(async () => {
    issuer = await startOidc({ algorithms: ['ES256', 'EdDSA', 'RS256'] })
    verifier = createVerifier({ issuer: issuer.issuer, audience, keys: { url: issuer.jwksUri } })
  })
  after(() => issuer?.stop())

  const good = { sub: 'alice', aud: audience, resource: 'sandbox:s1', scope: 'run read' }
  const typ = { typ: 'JWT' }
  const mint = (claims = {}, header = {}) => issuer.mint({ ...good, ...claims }, { header: { ...typ, ...header } })
  const now = () => Math.floor(Date.now() / 1000)

  it('says who is asking', async () => {
    const act = { sub: 'spiffe://cluster.local/ns/a/sa/router', act: { sub: 'agent-1' } }
    const caller = await verifier.verify(await mint({ act, jti: 'j1' }), demand)
    const { claims, expiresAt, ...rest } = caller
    assert.deepEqual(rest, {
      subject: 'alice',
      issuer: issuer.issuer,
      scopes: ['run', 'read'],
      resource: 'sandbox:s1',
      actors: ['spiffe://cluster.local/ns/a/sa/router', 'agent-1'],
      tokenId: 'j1',
      workload: undefined,
    })
    assert.equal(claims['aud'], audience)
    assert.ok(expiresAt > now())
  })

  for (const algorithm of ['ES256', 'EdDSA', 'RS256'] as const)
    it(`takes a signature by ${algorithm}`, async () => {
      assert.equal(await outcome(verifier.verify(await issuer.mint(good, { algorithm, header: typ }), demand)), 'alice')
    })

  const refused: Record<string, [answer: string, token: () => Promise<string>]> = {
    'another audience': ['401 invalid_token', () => mint({ aud: 'workloadmanager' })],
    'several audiences, ours among them': ['401 invalid_token', () => mint({ aud: [audience, 'workloadmanager'] })],
    'no audience': ['401 invalid_token', () => mint({ aud: undefined })],
    'another issuer': ['401 invalid_token', () => mint({ iss: 'https://elsewhere.example' })],
    'another resource': ['403 insufficient_scope', () => mint({ resource: 'sandbox:s2' })],
    'a list of resources': ['403 insufficient_scope', () => mint({ resource: ['sandbox:s1'] })],
    'no resource': ['403 insufficient_scope', () => mint({ resource: undefined })],
    'an expired token': ['401 invalid_token', () => mint({ iat: now() - 600, exp: now() - 120 })],
    'no expiry': ['401 invalid_token', () => mint({ exp: undefined })],
    'no iat': ['401 invalid_token', () => mint({ iat: undefined })],
    'a token of the future (nbf)': ['401 invalid_token', () => mint({ nbf: now() + 300 })],
    'a token of the future (iat)': ['401 invalid_token', () => mint({ iat: now() + 300 })],
    'an empty subject': ['401 invalid_token', () => mint({ sub: '' })],
    'no subject': ['401 invalid_token', () => mint({ sub: undefined })],
    'a token for the edge (typ at+jwt)': ['401 invalid_token', () => mint({}, { typ: 'at+jwt' })],
    'no typ': ['401 invalid_token', () => mint({}, { typ: undefined })],
    'an admin token’s typ': ['401 invalid_token', () => mint({}, { typ: 'postern-admin+jwt' })],
    'an unknown crit': ['401 invalid_token', () => mint({}, { crit: ['x'], x: 1 }).catch(() => signedBy({ crit: ['x'], x: 1 }))],
    'alg none': ['401 invalid_token', async () => handMadeToken({ alg: 'none', ...typ }, claims(), Buffer.from('x'))],
    'HS256 with the public key as secret': ['401 invalid_token', hmacWithPublicKey],
    'a key of its own in the header (jwk)': ['401 invalid_token', withOwnKey],
    'another key under our kid': ['401 invalid_token', forged],
    'an unknown kid': ['401 invalid_token', () => mint({}, { kid: 'nobody' })],
    'a changed payload': ['401 invalid_token', changed],
  }
  for (const [name, [answer, token]] of Object.entries(refused))
    it(`refuses ${name}`, async () => {
      assert.equal(await outcome(verifier.verify(await token(), demand)), answer)
    })

  const claims = () => ({ ...good, iss: issuer.issuer, iat: now(), exp: now() + 60 })
  const kid = () => issuer.keyIds()[0]
  async function signedBy(header: object): Promise<string> {
    return handMadeToken({ alg: 'ES256', kid: kid(), ...typ, ...header }, claims(), Buffer.alloc(64))
  }
  async function hmacWithPublicKey(): Promise<string> {
    const { keys } = (await (await fetch(issuer.jwksUri)).json()) as { keys: object[] }
    const unsigned = handMadeToken({ alg: 'HS256', kid: kid(), ...typ }, claims()).slice(0, -1)
    return `${unsigned}.${createHmac('sha256', JSON.stringify(keys[0])).update(unsigned).digest('base64url')}`
  }
  async function withOwnKey(): Promise<string> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const jwk = publicKey.export({ format: 'jwk' })
    return issuer.mint(good, { header: { ...typ, jwk, kid: 'own' }, key: await importable(privateKey) })
  }
  async function forged(): Promise<string> {
    return issuer.mint(good, { header: typ, key: await importable(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey) })
  }
  const importable = async (key: KeyObject) =>
    crypto.subtle.importKey('pkcs8', key.export({ type: 'pkcs8', format: 'der' }), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
  async function changed(): Promise<string> {
    const [header, , signature] = (await mint()).split('.')
    return `${header}.${Buffer.from(JSON.stringify({ ...claims(), sub: 'bob' })).toString('base64url')}.${signature}`
  }

  it('demands scopes', async () => {
    assert.equal(await outcome(verifier.verify(await mint(), { ...demand, scopes: ['run', 'read'] })), 'alice')
    assert.equal(await outcome(verifier.verify(await mint(), { ...demand, scopes: ['run', 'write'] })), '403 insufficient_scope')
  })

  it('takes a token for a resource nowhere else, unless told that none is looked at', async () => {
    assert.equal(await outcome(verifier.verify(await mint(), { resource: 'none' })), '403 insufficient_scope')
    assert.equal(await outcome(verifier.verify(await mint({ resource: undefined }), { resource: 'none' })), 'alice')
    assert.equal(await outcome(verifier.verify(await mint(), { resource: 'any' })), 'alice')
  })

  it('takes tokens of an issuer that writes another typ only when told', async () => {
    const of = (type: 'at+jwt' | 'any') => createVerifier({ issuer: issuer.issuer, audience, type, keys: verifier.keys })
    assert.equal(await outcome(of('any').verify(await mint({}, { typ: undefined }), demand)), 'alice')
    assert.equal(await outcome(of('at+jwt').verify(await mint({}, { typ: 'at+jwt' }), demand)), 'alice')
    assert.equal(await outcome(of('at+jwt').verify(await mint(), demand)), '401 invalid_token')
  })

  it('is not made with what cannot be trusted', () => {
    const of = (more: object) => () => createVerifier({ issuer: 'https://i', audience, keys: { url: 'https://i/jwks' }, ...more })
    assert.throws(of({ algorithms: ['HS256'] }), TypeError)
    assert.throws(of({ algorithms: ['none'] }), TypeError)
    assert.throws(of({ algorithms: [] }), TypeError)
    assert.throws(of({ audience: '' }), TypeError)
    assert.throws(of({ keys: { url: 'http://i.example/jwks' } }), TypeError)
    assert.throws(of({ keys: { url: 'http://127.0.0.1.evil.example/jwks' } }), TypeError)
  })

  describe('the header', () => {
    const presented = (...authorization: string[]) => outcome(jwtGuard({ verifier }).check({ authorization, peer: undefined }, demand))
    it('is taken once, as Bearer', async () => {
      const token = await mint()
      assert.equal(await presented(`Bearer ${token}`), 'alice')
      assert.equal(await presented(`bearer ${token}`), 'alice')
      assert.equal(await presented(), '401 undefined')
      assert.equal(await presented(`Bearer ${token}`, `Bearer ${token}`), '400 invalid_request')
      assert.equal(await presented(`Bearer ${token}, Bearer ${token}`), '400 invalid_request')
      for (const odd of [
        '',
        token,
        `Basic ${token}`,
        `Bearer  ${token}`,
        `Bearer ${token} `,
        `Bearer ${token}=`,
        'Bearer a.b',
        'Bearer ..',
      ])
        assert.equal(await presented(odd), '401 invalid_token', odd)
      const long = await mint({ filler: 'x'.repeat(9000) })
      assert.equal(await presented(`Bearer ${long}`), '401 invalid_token')
    })
  })
})

describe('the issuer’s keys', () => {
  let issuer: OidcIssuer
  let now: number
  beforeEach(async () => {
    issuer = await startOidc({ algorithms: ['ES256'] })
    now = Date.now()
  })
  afterEach(() => issuer?.stop())
  const asked = () => issuer.asked.get('/jwks') ?? 0
  const open = (more = {}) => openKeys({ url: issuer.jwksUri, timeoutMs: 200, clock: () => now, ...more })
  const find = async (keys: ReturnType<typeof open>, kid = issuer.keyIds()[0]!): Promise<string> => {
    try {
      await keys.find({ alg: 'ES256', kid }, { payload: '', signature: '' })
      return 'found'
    } catch (cause) {
      assert.ok(cause instanceof Refusal, String(cause))
      return `${cause.status} ${cause.error}`
    }
  }

  it('are fetched once for many requests, and again when they are old', async () => {
    const keys = open({ maxAgeMs: 1000 })
    assert.deepEqual(await Promise.all([find(keys), find(keys), find(keys)]), ['found', 'found', 'found'])
    assert.equal(asked(), 1)
    now += 1001
    assert.equal(await find(keys), 'found')
    await keys.refresh()
    assert.equal(asked(), 2)
  })

  it('are fetched for an unknown kid, at most once in the cool-down', async () => {
    const keys = open({ cooldownMs: 30_000 })
    assert.equal(await find(keys), 'found')
    await issuer.rotate(true)
    assert.equal(await find(keys, issuer.keyIds()[0]), 'found')
    assert.equal(asked(), 2)
    assert.equal(await find(keys, 'made-up'), '401 invalid_token')
    assert.equal(asked(), 2)
    now += 30_001
    assert.equal(await find(keys, 'made-up'), '401 invalid_token')
    assert.equal(asked(), 3)
  })

  it('that left the set are not believed any more', async () => {
    const keys = open()
    const old = issuer.keyIds()[0]!
    assert.equal(await find(keys), 'found')
    await issuer.rotate()
    await keys.refresh()
    assert.equal(await find(keys, old), '401 invalid_token')
  })

  for (const behaviour of ['fails', 'hangs', 'garbage'] as const)
    it(`are used for a day while the issuer ${behaviour}`, async () => {
      const keys = open({ maxAgeMs: 1000, staleForMs: 86_400_000 })
      assert.equal(await find(keys), 'found')
      issuer.behave(behaviour)
      now += 80_000_000
      assert.equal(await find(keys), 'found')
      assert.equal(await find(keys, 'made-up'), '503 undefined')
      now += 7_000_000
      assert.equal(await find(keys), '503 undefined')
      issuer.behave('well')
      now += 1_001
      assert.equal(await find(keys), 'found')
    })

  it('are asked for again soon after the first attempt failed, then less and less often', async () => {
    issuer.behave('fails')
    const keys = open()
    assert.equal(await find(keys), '503 undefined')
    issuer.behave('well')
    now += 101
    assert.equal(await find(keys), 'found')
    const others = open()
    issuer.behave('fails')
    const before = asked()
    // 100, 200, 400 and 800 ms after one another, then each second.
    for (let i = 0; i < 400; i++) {
      await find(others)
      now += 10
    }
    assert.equal(asked() - before, 7)
  })

  it('of no issuer are nothing to go by: 503', async () => {
    await issuer.stop()
    assert.equal(await find(open()), '503 undefined')
  })
})
