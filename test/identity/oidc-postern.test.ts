import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { SignJWT } from 'jose'
import { signatureAlgorithms } from '../../src/core/jws.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { KeyAnswer } from '../../src/core/verification-keys.ts'
import { type OidcPosternOptions, oidcByPostern } from '../../src/identity/oidc-postern.ts'
import { posternTokens } from '../../src/identity/postern.ts'
import { ec, ed, encode, hmacToken, present, rsa, signToken } from './tokens.ts'

const now = 1_800_000_000_000
const t = now / 1000
const good = { iss: 'https://idp.example', aud: 'edge', sub: 'alice', exp: t + 300, iat: t, roles: ['r1'] }
const keys = new Map<string, KeyObject>([
  ['ec', ec.publicKey],
  ['rsa', rsa.publicKey],
  ['ed', ed.publicKey],
])
const find = (kid: string | undefined): KeyAnswer => {
  const key = keys.get(kid ?? '')
  return key ? { kind: 'key', key } : { kind: 'unknown' }
}
const options: OidcPosternOptions = {
  validator: 'users',
  issuer: 'https://idp.example',
  audiences: ['edge'],
  names: { subject: 'sub', roles: 'roles', role: undefined, scopes: undefined, endUser: undefined },
  namespace: '',
  mayAssert: undefined,
  algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
  keys: { find },
}
const ask = (token: string, more: Partial<OidcPosternOptions> = {}, scheme = 'Bearer'): string | Principal => {
  const verdict = oidcByPostern({ ...options, ...more }).identify(present(`${scheme} ${token}`, now))
  assert.ok(!(verdict instanceof Promise), 'memory answers at once')
  return verdict instanceof Deny ? verdict.reason : verdict
}
const admitted = (verdict: string | Principal): Principal => (typeof verdict === 'string' ? assert.fail(verdict) : verdict)
const es = { alg: 'ES256', kid: 'ec' }

describe('oidc, verified by postern', () => {
  const admits: [string, object, KeyObject][] = [
    ['ES256', es, ec.privateKey],
    ['RS256', { alg: 'RS256', kid: 'rsa' }, rsa.privateKey],
    ['PS256', { alg: 'PS256', kid: 'rsa' }, rsa.privateKey],
    ['EdDSA', { alg: 'EdDSA', kid: 'ed' }, ed.privateKey],
    ['typ JWT', { ...es, typ: 'JWT' }, ec.privateKey],
    ['typ application/at+jwt', { ...es, typ: 'application/at+JWT' }, ec.privateKey],
    ['a jwk header, ignored', { ...es, jwk: {}, jku: 'https://evil.example' }, ec.privateKey],
  ]
  for (const [name, header, key] of admits)
    it(`admits ${name}`, () => assert.equal(admitted(ask(signToken(header, good, key))).subject, 'alice'))

  it('verifies what another implementation signs, for every algorithm', async () => {
    for (const alg of signatureAlgorithms) {
      const pair =
        alg[0] === 'E' && alg[1] === 'S'
          ? generateKeyPairSync('ec', { namedCurve: { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' }[alg as 'ES256']! })
          : alg.startsWith('Ed')
            ? ed
            : rsa
      const token = await new SignJWT(good).setProtectedHeader({ alg, kid: 'x' }).sign(pair.privateKey)
      const only = (): KeyAnswer => ({ kind: 'key', key: pair.publicKey })
      admitted(ask(token, { algorithms: [alg], keys: { find: only } }))
      const broken = token.slice(0, -6) + (token.at(-6) === 'A' ? 'B' : 'A') + token.slice(-5)
      assert.equal(ask(broken, { algorithms: [alg], keys: { find: only } }), 'invalid_credential', alg)
    }
  })

  const evil = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 })
  const unsigned = `${encode({ alg: 'none' })}.${encode(good)}.`
  const rejects: [string, string, string][] = [
    ['alg none without signature', unsigned, 'invalid_credential'],
    ['alg none with one', `${unsigned}c2ln`, 'invalid_credential'],
    ['alg None', `${encode({ alg: 'None' })}.${encode(good)}.c2ln`, 'invalid_credential'],
    ['HMAC with the public key', hmacToken(good, ec.publicKey), 'invalid_credential'],
    ['an algorithm off the list', signToken({ alg: 'RS512', kid: 'rsa' }, good, rsa.privateKey), 'invalid_credential'],
    ['no alg', signToken({ kid: 'ec' }, good), 'invalid_credential'],
    ['ES256 said, RSA key named', signToken({ alg: 'ES256', kid: 'rsa' }, good), 'invalid_credential'],
    ['crit', signToken({ ...es, crit: ['exp'] }, good), 'invalid_credential'],
    ['b64', signToken({ ...es, b64: false }, good), 'invalid_credential'],
    ['an unknown kid', signToken({ ...es, kid: '../../dev/null' }, good), 'invalid_credential'],
    ['a kid that is a number', signToken({ ...es, kid: 1 }, good), 'invalid_credential'],
    ['no kid among several keys', signToken({ alg: 'ES256' }, good), 'invalid_credential'],
    ['another key with a known kid', signToken(es, good, evil.privateKey), 'invalid_credential'],
    [
      'its own key in jwk',
      signToken({ ...es, jwk: evil.publicKey.export({ format: 'jwk' }) }, good, evil.privateKey),
      'invalid_credential',
    ],
    ['a DER signature', signToken(es, good, ec.privateKey, 'der'), 'invalid_credential'],
    ['typ logout+jwt', signToken({ ...es, typ: 'logout+jwt' }, good), 'invalid_credential'],
    ['typ that is no text', signToken({ ...es, typ: 1 }, good), 'invalid_credential'],
    ['another issuer', signToken(es, { ...good, iss: 'https://other.example' }), 'abstain'],
    ['another audience', signToken(es, { ...good, aud: 'x' }), 'invalid_credential'],
    ['no exp', signToken(es, { ...good, exp: undefined }), 'invalid_credential'],
    ['an exp beyond numbers', signToken(es, JSON.stringify(good).replace(/"exp":\d+/, '"exp":1e999')), 'invalid_credential'],
    ['an expired one', signToken(es, { ...good, exp: t - 60 }), 'expired_credential'],
    ['an expired one that nobody signed', signToken(es, { ...good, exp: t - 60 }, evil.privateKey), 'invalid_credential'],
    ['nbf to come', signToken(es, { ...good, nbf: t + 61 }), 'invalid_credential'],
    ['iat to come', signToken(es, { ...good, iat: t + 61 }), 'invalid_credential'],
    ['9 KiB', signToken(es, { ...good, pad: 'x'.repeat(6500) }), 'invalid_credential'],
    ['members twice', signToken(es, `{"sub":"bob",${JSON.stringify(good).slice(1)}`), 'invalid_credential'],
    ['padding', `${signToken(es, good)}==`, 'invalid_credential'],
    ['cnf', signToken(es, { ...good, cnf: { 'x5t#S256': 'x' } }), 'invalid_credential'],
    ['opaque text', 'abcdef', 'abstain'],
  ]
  for (const [name, token, reason] of rejects) it(`answers ${reason} to ${name}`, () => assert.equal(ask(token), reason))

  it('refuses RSA keys under 2048 bits', () => {
    const find = (): KeyAnswer => ({ kind: 'key', key: weak.publicKey })
    assert.equal(ask(signToken({ alg: 'RS256', kid: 'rsa' }, good, weak.privateKey), { keys: { find } }), 'invalid_credential')
  })
  it('is asked with other schemes in vain', () => assert.equal(ask(signToken(es, good), {}, 'Negotiate'), 'abstain'))
  it('says when keys cannot be had, and waits for those that are coming', async () => {
    const token = signToken(es, good)
    assert.equal(ask(token, { keys: { find: () => ({ kind: 'unavailable', detail: 'down' }) } }), 'identity_unavailable')
    const coming = oidcByPostern({ ...options, keys: { find: async (kid) => find(kid) } }).identify(present(`Bearer ${token}`, now))
    assert.ok(coming instanceof Promise)
    const verdict = await coming
    assert.ok(verdict !== 'abstain' && !(verdict instanceof Deny))
    assert.equal(verdict.digest, createHash('sha256').update(token).digest('hex'))
    assert.equal(verdict.subjectToken, token)
  })
  it('remembers a verified token, its times and its key', () => {
    let current: KeyAnswer = { kind: 'key', key: ec.publicKey }
    const validator = oidcByPostern({ ...options, keys: { find: () => current } })
    const token = signToken(es, good)
    const at = (when: number): unknown => {
      const verdict = validator.identify(present(`Bearer ${token}`, when))
      return verdict instanceof Deny ? verdict.reason : verdict
    }
    const first = at(now)
    assert.equal(at(now + 1000), first, 'the same object, so nothing was verified twice')
    assert.equal(at(now + 360_000), 'expired_credential')
    current = { kind: 'unknown' }
    assert.equal(at(now), 'invalid_credential', 'a key that was withdrawn takes its tokens along')
    current = { kind: 'key', key: evil.publicKey }
    assert.equal(at(now), 'invalid_credential')
  })
})

describe('postern tokens', () => {
  const own = posternTokens({
    validator: 'agents',
    issuer: 'http://127.0.0.1:9193',
    audience: 'postern',
    namespace: 'agent:',
    mayAssert: new Set(['r1']),
    keys: { find },
  })
  const payload = {
    iss: 'http://127.0.0.1:9193',
    aud: 'postern',
    sub: 'a7',
    exp: t + 60,
    iat: t,
    jti: 'j',
    scope: 'x:y',
    roles: ['r1', 'r2'],
    act: { sub: 'w' },
  }
  const verdict = (header: object, claims: object): unknown => {
    const answer = own.identify(present(`Bearer ${signToken(header, claims)}`, now))
    assert.ok(!(answer instanceof Promise))
    return answer instanceof Deny ? answer.reason : answer
  }
  const at = { ...es, typ: 'at+jwt' }

  it('admits a token for the edge', () => {
    const { subject, roles, scopes, tokenId, actor } = verdict(at, payload) as Principal
    assert.deepEqual(
      { subject, roles, scopes, tokenId, actor },
      { subject: 'agent:a7', roles: ['r1'], scopes: ['x:y'], tokenId: 'j', actor: { subject: 'w' } },
    )
  })
  it('rejects downstream, admin and other tokens of ours, and leaves others alone', () => {
    assert.equal(verdict({ ...es, typ: 'JWT' }, payload), 'invalid_credential')
    assert.equal(verdict(es, payload), 'invalid_credential')
    assert.equal(verdict({ ...es, typ: 'postern-admin+jwt' }, payload), 'invalid_credential')
    assert.equal(verdict(at, { ...payload, aud: 'picod' }), 'invalid_credential')
    assert.equal(verdict(at, { ...payload, aud: 'postern-admin' }), 'invalid_credential')
    assert.equal(verdict({ ...at, kid: 'other' }, payload), 'invalid_credential')
    assert.equal(verdict(at, { ...payload, iss: 'https://idp.example' }), 'abstain')
  })
})
