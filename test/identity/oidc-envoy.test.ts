import assert from 'node:assert/strict'
import type { JsonObject } from '../../src/core/json.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import { type OidcEnvoyOptions, oidcByEnvoy } from '../../src/identity/oidc-envoy.ts'
import { encode, present, signToken } from './tokens.ts'

const now = 1_800_000_000_000
const t = now / 1000
const options: OidcEnvoyOptions = {
  validator: 'users',
  issuer: 'https://idp.example',
  audiences: ['edge', 'other-edge'],
  names: { subject: 'sub', roles: 'realm_access.roles', role: 'omnia.role', scopes: 'scope', endUser: 'email' },
  namespace: 'u:',
  mayAssert: undefined,
  metadataKey: 'users',
  forward: false,
  algorithms: ['ES256'],
}
const good: JsonObject = {
  iss: 'https://idp.example',
  aud: ['account', 'edge'],
  sub: 'alice',
  exp: t + 300,
  iat: t - 5,
  jti: 'j1',
  scope: 'a:b:c  d',
  realm_access: { roles: ['r1', 2, '', 'r2', 'r1'] },
}
const without = (name: string): JsonObject => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name))
const header = { alg: 'ES256', typ: 'JWT', kid: 'k1' }
const bearer = (payload: unknown, head: unknown = header): string => `Bearer ${signToken(head, payload)}`
const ask = (payload: JsonObject | undefined, authorization?: string, more: Partial<OidcEnvoyOptions> = {}): string | Principal => {
  const verdict = oidcByEnvoy({ ...options, ...more }).identify(present(authorization, now, payload && { users: payload }))
  assert.ok(!(verdict instanceof Promise))
  return verdict instanceof Deny ? verdict.reason : verdict
}
const admitted = (verdict: string | Principal): Principal => (typeof verdict === 'string' ? assert.fail(verdict) : verdict)

describe('oidc, verified by envoy', () => {
  it('makes a principal of what Envoy verified', () => {
    const { digest, ...principal } = admitted(ask({ ...good, email: 'alice@example' }))
    assert.match(digest, /^[0-9a-f]{64}$/)
    assert.deepEqual(principal, {
      validator: 'users',
      issuer: 'https://idp.example',
      subject: 'u:alice',
      rawSubject: 'alice',
      roles: ['r1', 'r2'],
      scopes: ['a:b:c', 'd'],
      claims: { ...good, email: 'alice@example' },
      tokenId: 'j1',
      issuedAt: t - 5,
      expiresAt: t + 300,
      endUser: 'alice@example',
    })
  })

  it('looks at the algorithm of a token that arrives beside it', () => {
    assert.equal(ask(good, bearer(good, { ...header, alg: 'ES384' })), 'invalid_credential')
    admitted(ask(good, bearer(good, { ...header, alg: 'ES384' }), { algorithms: ['ES256', 'ES384'] }))
    admitted(ask(good))
  })

  const verdicts: [string, JsonObject, string][] = [
    ['another issuer', { ...good, iss: 'https://evil.example' }, 'invalid_credential'],
    ['the issuer with a slash more', { ...good, iss: 'https://idp.example/' }, 'invalid_credential'],
    ['no issuer', without('iss'), 'invalid_credential'],
    ['another audience', { ...good, aud: 'account' }, 'invalid_credential'],
    ['no audience', without('aud'), 'invalid_credential'],
    ['an audience that is an object', { ...good, aud: { edge: true } }, 'invalid_credential'],
    ['no exp', without('exp'), 'invalid_credential'],
    ['exp as text', { ...good, exp: String(t + 300) }, 'invalid_credential'],
    ['exp without end', { ...good, exp: Number.POSITIVE_INFINITY }, 'invalid_credential'],
    ['exp past the skew', { ...good, exp: t - 60 }, 'expired_credential'],
    ['nbf beyond the skew', { ...good, nbf: t + 61 }, 'invalid_credential'],
    ['nbf as text', { ...good, nbf: '1' }, 'invalid_credential'],
    ['iat beyond the skew', { ...good, iat: t + 61 }, 'invalid_credential'],
    ['iat null', { ...good, iat: null }, 'invalid_credential'],
    ['no subject', without('sub'), 'invalid_credential'],
    ['an empty subject', { ...good, sub: '' }, 'invalid_credential'],
    ['a list as subject', { ...good, sub: ['alice'] }, 'invalid_credential'],
    ['a subject of 1025 characters', { ...good, sub: 'x'.repeat(1025) }, 'invalid_credential'],
    ['half a surrogate pair in the subject', { ...good, sub: 'a\ud800' }, 'invalid_credential'],
    ['cnf', { ...good, cnf: { jkt: 'x' } }, 'invalid_credential'],
    ['act without sub', { ...good, act: { client_id: 'x' } }, 'invalid_credential'],
    ['act as text', { ...good, act: 'x' }, 'invalid_credential'],
  ]
  for (const [name, payload, reason] of verdicts) it(`answers ${reason} to ${name}`, () => assert.equal(ask(payload), reason))

  for (const [name, payload] of Object.entries<JsonObject>({
    'exp within the skew': { ...good, exp: t - 59 },
    'nbf within the skew': { ...good, nbf: t + 60 },
    'iat within the skew': { ...good, iat: t + 60 },
    'no iat': without('iat'),
    'aud as text': { ...good, aud: 'other-edge' },
  })) {
    it(`admits ${name}`, () => admitted(ask(payload)))
  }

  it('takes only lists of strings for roles, and only a string for a role', () => {
    const roles = (claims: JsonObject): readonly string[] => admitted(ask({ ...good, ...claims })).roles
    assert.deepEqual(roles({ realm_access: { roles: 'admin' } }), [])
    assert.deepEqual(roles({ realm_access: { roles: { admin: true } } }), [])
    assert.deepEqual(roles({ realm_access: ['admin'] }), [])
    assert.deepEqual(roles({ realm_access: null, omnia: { role: 'admin' } }), ['admin'])
    assert.deepEqual(roles({ realm_access: {}, omnia: { role: ['admin'] } }), [])
    assert.deepEqual(admitted(ask(good, undefined, { mayAssert: new Set(['r2', 'r9']) })).roles, ['r2'])
  })
  it('reads scopes from a list, too', () => {
    assert.deepEqual(admitted(ask({ ...good, scope: ['a', 'b c', 3, 'a'] })).scopes, ['a'])
    assert.deepEqual(admitted(ask({ ...good, scope: 7 })).scopes, [])
  })
  it('reads the actor chain, five deep at most', () => {
    const chain = (depth: number): JsonObject => (depth === 1 ? { sub: 'a1' } : { sub: `a${depth}`, act: chain(depth - 1) })
    assert.deepEqual(admitted(ask({ ...good, act: { ...chain(2), iss: 'i' } })).actor, {
      subject: 'a2',
      issuer: 'i',
      actor: { subject: 'a1' },
    })
    admitted(ask({ ...good, act: chain(5) }))
    assert.equal(ask({ ...good, act: chain(6) }), 'invalid_credential')
  })
  it('names the same payload alike in any order of members, and another one differently', () => {
    const turned = Object.fromEntries(Object.entries(good).reverse())
    assert.equal(admitted(ask(turned)).digest, admitted(ask(good)).digest)
    assert.notEqual(admitted(ask({ ...good, jti: 'j2' })).digest, admitted(ask(good)).digest)
  })

  describe('beside Authorization', () => {
    it('admits the token whose payload Envoy tells of, and hands it on', () => {
      const value = bearer(good)
      assert.equal(admitted(ask(good, value)).subjectToken, value.slice('Bearer '.length))
      admitted(ask(good, bearer(Object.fromEntries(Object.entries(good).reverse()))))
    })
    const valid = bearer(good)
    const cases: Record<string, string> = {
      'another payload': bearer({ ...good, sub: 'bob' }),
      'a claim more': bearer({ ...good, extra: 1 }),
      'lower-case scheme': valid.replace('Bearer', 'bearer'),
      'two spaces': valid.replace(' ', '  '),
      'white space behind': `${valid} `,
      padding: `${valid}==`,
      'another scheme before it': `Basic Zm9vOmJhcg==, ${valid}`,
      'two of them, joined': `${valid},${valid}`,
      'no scheme': valid.slice('Bearer '.length),
      crit: bearer(good, { ...header, crit: ['exp'] }),
      b64: bearer(good, { ...header, b64: false }),
      'a logout token': bearer(good, { ...header, typ: 'logout+jwt' }),
      'an opaque key': 'Bearer abcdef',
      'an empty value': '',
      'a member twice': `Bearer ${encode(header)}.${encode(`{"sub":"bob",${JSON.stringify(good).slice(1)}`)}.c2ln`,
      'over 8 KiB': `Bearer ${signToken({ ...header, pad: 'x'.repeat(6500) }, good)}`,
    }
    for (const [name, value] of Object.entries(cases)) it(`rejects ${name}`, () => assert.equal(ask(good, value), 'invalid_credential'))

    it('compares again, whatever it remembers', () => {
      const validator = oidcByEnvoy(options)
      const identify = (payload: JsonObject, at = now) => validator.identify(present(valid, at, { users: payload }))
      const first = identify(good)
      assert.ok(!(first instanceof Deny))
      assert.equal(identify(good), first)
      assert.deepEqual(identify({ ...good }), first)
      assert.ok(identify({ ...good, sub: 'bob' }) instanceof Deny)
      const late = identify(good, now + 400_000)
      assert.ok(late instanceof Deny && late.reason === 'expired_credential')
    })
    it('demands the token with forward: true', () => {
      assert.equal(ask(good, undefined, { forward: true }), 'invalid_credential')
      admitted(ask(good, valid, { forward: true }))
    })
  })

  describe('without a verified payload', () => {
    it('rejects its own issuer’s token and leaves others alone', () => {
      assert.equal(ask(undefined, bearer(good)), 'invalid_credential')
      assert.equal(ask(undefined, bearer({ ...good, exp: t - 61 })), 'expired_credential')
      assert.equal(ask(undefined, bearer({ ...good, exp: 'soon' })), 'invalid_credential')
      assert.equal(ask(undefined, bearer({ ...good, iss: 'https://other.example' })), 'abstain')
      assert.equal(ask(undefined, 'Bearer opaque'), 'abstain')
      assert.equal(ask(undefined, bearer(good).replace('Bearer', 'Negotiate')), 'abstain')
      assert.equal(ask(undefined, undefined), 'abstain')
    })
    it('reads its own metadata key only', () => {
      assert.equal(oidcByEnvoy(options).identify(present(undefined, now, { others: good })), 'abstain')
    })
  })
})
