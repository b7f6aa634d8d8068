import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { basic, issuer, openRig, type Rig, signed, withSecret } from './rig.ts'

describe('introspection', () => {
  let rig: Rig
  const a = basic('a', 's')
  before(async () => {
    rig = await openRig()
    rig.clients.set('a', withSecret('a', 's'))
    rig.clients.set('b', withSecret('b', 's'))
    rig.clients.set('deaf', withSecret('deaf', 's', { introspects: false }))
  })
  after(() => rig.close())
  beforeEach(() => {
    rig.state.down = false
    rig.faults.length = 0
  })
  const ask = (token: string, by = a, more: Record<string, string> = {}) => rig.post('/introspect', { token, ...more }, by)
  const claimsOf = (token: string) => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())

  it('tells all that a token says', async () => {
    const x5tS256 = 'A'.repeat(43)
    const token = rig.token({
      audience: ['postern', 'other'],
      subject: 'spiffe://agents.local/agent/o/t/1',
      client: 'b',
      roles: ['viewer'],
      scopes: ['read:data:*', 'write:data:x'],
      actor: { subject: 'svc' },
      task: 't',
      orchestration: 'o',
      confirmation: { x5tS256, jkt: undefined },
    })
    const { status, json, headers } = await ask(token)
    assert.equal(status, 200)
    const { iat, exp, jti, act } = claimsOf(token)
    assert.deepEqual(json, {
      active: true,
      iss: issuer,
      sub: 'spiffe://agents.local/agent/o/t/1',
      aud: ['postern', 'other'],
      client_id: 'b',
      scope: 'read:data:* write:data:x',
      roles: ['viewer'],
      act,
      task_id: 't',
      orch_id: 'o',
      cnf: { 'x5t#S256': x5tS256 },
      token_type: 'Bearer',
      iat,
      exp,
      jti,
    })
    assert.deepEqual(act, { sub: 'svc' })
    assert.equal(headers.get('cache-control'), 'no-store')
    assert.equal(headers.get('content-type'), 'application/json; charset=utf-8')
    assert.deepEqual(rig.faults, [])
  })
  it('says how a token is bound', async () => {
    const jkt = 'B'.repeat(43)
    const { json } = await ask(rig.token({ confirmation: { jkt, x5tS256: undefined } }))
    assert.deepEqual([json.token_type, json.cnf], ['DPoP', { jkt }])
  })
  it('answers for downstream and app tokens, of clients and of nobody', async () => {
    for (const kind of ['edge', 'upstream', 'app'] as const) {
      for (const hint of ['access_token', 'refresh_token', 'nonsense', '']) {
        const { json } = await ask(rig.token({ kind }), a, { token_type_hint: hint })
        assert.deepEqual([json.active, json.sub, json.client_id], [true, 'alice', undefined], `${kind} ${hint}`)
      }
    }
  })
  it('answers for a refresh token to its own client alone', async () => {
    const token = rig.token({ kind: 'refresh', client: 'a' })
    const { json } = await ask(token, a, { token_type_hint: 'refresh_token' })
    assert.deepEqual([json.active, json.client_id, json.token_type], [true, 'a', undefined])
    assert.deepEqual((await ask(token, basic('b', 's'))).json, { active: false })
  })

  const foreign = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  const now = Math.floor(Date.now() / 1000)
  const full = { iss: issuer, sub: 'alice', aud: 'postern', exp: now + 60, iat: now, jti: 'j' }
  for (const [what, make] of [
    ['that has expired', () => rig.token({ now: Date.now() - 120_000 })],
    [
      'that was revoked',
      () => {
        const token = rig.token()
        rig.revoked.set(claimsOf(token).jti, 'somebody')
        return token
      },
    ],
    ['of another key', () => signed({ alg: 'ES256', kid: 'k1', typ: 'at+jwt' }, full, foreign)],
    ['of another issuer', () => signed({ alg: 'ES256', kid: 'g', typ: 'at+jwt' }, { ...full, iss: 'https://else.example' }, foreign)],
    ['by none', () => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(full)).toString('base64url')}.`],
    ['for admins', () => rig.mint.admin('admin', Date.now()).token],
    ['that is none', () => 'nonsense'],
    ['that is what we call it inside', () => 'the-shown-token'],
    ['that is very long', () => 'x'.repeat(40_000)],
    ['with a NUL in it', () => 'a\0b'],
  ] as const) {
    it(`says of a token ${what} that it is inactive, and no more`, async () => {
      const { status, text } = await ask(make())
      assert.deepEqual([status, text], [200, '{"active":false}'])
      assert.deepEqual(rig.faults, [])
    })
  }
  it('tells nothing to a client that may not ask', async () => {
    assert.deepEqual((await ask(rig.token({ client: 'deaf' }), basic('deaf', 's'))).json, { active: false })
  })
  it('tells nothing to who does not prove who it is', async () => {
    const { status, json } = await ask(rig.token(), basic('a', 'wrong'))
    assert.deepEqual([status, json.error], [401, 'invalid_client'])
    const bearer = await ask(rig.token(), { authorization: `Bearer ${rig.token()}` })
    assert.equal(bearer.status, 400)
  })
  it('wants one token', async () => {
    const none = await rig.post('/introspect', {}, a)
    assert.deepEqual([none.status, none.json], [400, { error: 'invalid_request', error_description: "missing required parameter 'token'" }])
    const two = await rig.post('/introspect', { token: [rig.token(), rig.token()] }, a)
    assert.deepEqual([two.status, two.json.error], [400, 'invalid_request'])
  })
  it('is unavailable where revocations cannot be known', async () => {
    const { status, json, headers } = await ask(rig.token({ scopes: ['unknowable'] }))
    assert.deepEqual([status, json, headers.get('retry-after')], [503, { error: 'temporarily_unavailable' }, '1'])
  })
})

describe('revocation', () => {
  let rig: Rig
  const a = basic('a', 's')
  before(async () => {
    rig = await openRig()
    rig.clients.set('a', withSecret('a', 's', { introspects: false }))
  })
  after(() => rig.close())
  beforeEach(() => {
    rig.state.down = false
    rig.revoked.clear()
    rig.faults.length = 0
  })
  const jti = (token: string): string => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()).jti

  it('revokes what was issued to the client', async () => {
    for (const kind of ['edge', 'upstream', 'refresh'] as const) {
      const token = rig.token({ client: 'a', kind })
      const { status, text, headers } = await rig.post(
        '/revoke',
        { token, token_type_hint: kind === 'refresh' ? 'refresh_token' : 'access_token' },
        a,
      )
      assert.deepEqual([status, text, headers.get('cache-control')], [200, '', 'no-store'])
      assert.equal(rig.revoked.get(jti(token)), 'a')
    }
    assert.equal(rig.revoked.size, 3)
    assert.deepEqual(rig.faults, [])
  })
  it('does nothing about what is not, and says as much', async () => {
    const others = [
      rig.token({ client: 'b' }),
      rig.token(),
      rig.mint.admin('a', Date.now()).token,
      'nonsense',
      rig.token({ client: 'a', now: 1 }),
    ]
    for (const token of others) {
      const { status, text } = await rig.post('/revoke', { token }, a)
      assert.deepEqual([status, text], [200, ''])
    }
    assert.equal(rig.revoked.size, 0)
  })
  it('needs no view on what else was revoked', async () => {
    const token = rig.token({ client: 'a', scopes: ['unknowable'] })
    assert.equal((await rig.post('/revoke', { token }, a)).status, 200)
    assert.equal(rig.revoked.size, 1)
  })
  it('says so where it could not', async () => {
    const token = rig.token({ client: 'a' })
    rig.state.down = true
    const { status, json } = await rig.post('/revoke', { token }, a)
    assert.deepEqual([status, json], [503, { error: 'temporarily_unavailable' }])
    assert.equal(rig.revoked.size, 0)
  })
  it('wants a client, and a token', async () => {
    assert.equal((await rig.post('/revoke', { token: rig.token({ client: 'a' }) }, basic('a', 'x'))).status, 401)
    assert.equal((await rig.post('/revoke', {}, a)).status, 400)
    assert.equal(rig.revoked.size, 0)
  })
})
