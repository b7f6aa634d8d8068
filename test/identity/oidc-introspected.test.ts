import assert from 'node:assert/strict'
import { readCredential } from '../../src/core/credential.ts'
import type { JsonObject } from '../../src/core/json.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { Verdict } from '../../src/core/validator.ts'
import type { KeyAnswer } from '../../src/core/verification-keys.ts'
import { type Introspected, type IntrospectedOptions, oidcIntrospected } from '../../src/identity/oidc-introspected.ts'
import { oidcByPostern } from '../../src/identity/oidc-postern.ts'
import { ec, encode, present, signToken } from './tokens.ts'

const now = 1_800_000_000_000
const t = now / 1000
const issuer = 'https://idp.example'
const good = { active: true, sub: 'alice', aud: ['other', 'edge'], exp: t + 300, token_type: 'Bearer', scope: 'a b', roles: ['r1'] }
const find = (kid: string | undefined): KeyAnswer => (kid === 'ec' ? { kind: 'key', key: ec.publicKey } : { kind: 'unknown' })
const rules = {
  validator: 'users',
  issuer,
  audiences: ['edge'],
  names: { subject: 'sub', roles: 'roles', role: undefined, scopes: 'scope', endUser: undefined },
  namespace: '',
  mayAssert: undefined,
}
const header = { algorithms: ['ES256'] as const, types: [undefined, 'jwt'] }

/** An issuer in memory that remembers what it was asked. */
function asking(answers: Readonly<Record<string, JsonObject | Introspected>>, more: Partial<IntrospectedOptions> = {}) {
  const asked: string[] = []
  const kept = new Map<string, Introspected>()
  const introspection: IntrospectedOptions['introspection'] = {
    recall: (digest) => kept.get(digest),
    ask: async (token, digest) => {
      asked.push(token)
      const found = answers[token]
      const answer: Introspected =
        found === undefined
          ? { kind: 'inactive' }
          : 'kind' in found
            ? (found as Introspected)
            : { kind: 'active', claims: found as JsonObject, until: now + 30_000 }
      if (answer.kind !== 'unavailable') kept.set(digest, answer)
      return answer
    },
  }
  const rest = oidcByPostern({ ...rules, ...header, keys: { find } })
  const validator = oidcIntrospected(rest, { ...rules, introspection, ...more })
  const verdict = async (token: string, scheme = 'Bearer', at = now): Promise<Verdict> =>
    validator.identify(present(`${scheme} ${token}`, at))
  const reason = async (token: string): Promise<string> => {
    const found = await verdict(token)
    return found instanceof Deny ? found.reason : found === 'abstain' ? found : 'admitted'
  }
  return { validator, introspection, asked, verdict, reason }
}
const principal = (verdict: Verdict): Principal =>
  verdict === 'abstain' || verdict instanceof Deny ? assert.fail(`${JSON.stringify(verdict)}`) : verdict

describe('oidc by introspection', () => {
  it('makes a principal of an answer', async () => {
    const { verdict, asked, validator } = asking({ opaque: { ...good, jti: 'j1', iat: t - 5 } })
    const who = principal(await verdict('opaque'))
    assert.deepEqual(
      { subject: who.subject, issuer: who.issuer, roles: who.roles, scopes: who.scopes, tokenId: who.tokenId, issuedAt: who.issuedAt },
      { subject: 'alice', issuer, roles: ['r1'], scopes: ['a', 'b'], tokenId: 'j1', issuedAt: t - 5 },
    )
    assert.deepEqual([who.expiresAt, who.subjectToken], [t + 300, 'opaque'])
    assert.equal(who.claims['active'], undefined)
    const again = validator.identify(present('Bearer opaque', now))
    assert.equal(again, who, 'memory answers at once, with what was judged before')
    assert.deepEqual(asked, ['opaque'])
  })
  it('counts an answer without exp for as long as it is used', async () => {
    const { exp: _, ...endless } = good
    const who = principal(await asking({ opaque: endless }).verdict('opaque'))
    assert.equal(who.expiresAt, t + 30)
  })
  it('binds to what cnf names', async () => {
    const jkt = 'A'.repeat(43)
    const who = principal(await asking({ opaque: { ...good, cnf: { jkt } } }).verdict('opaque', 'DPoP'))
    assert.equal(who.confirmation?.jkt, jkt)
  })

  const refused: Record<string, [object, string?]> = {
    'that is not active': [{ active: false }],
    'of another issuer': [{ ...good, iss: 'https://evil.example' }],
    'for another audience': [{ ...good, aud: 'else' }],
    'for no audience': [{ ...good, aud: undefined }],
    'with an aud that holds more than texts': [{ ...good, aud: ['edge', 1] }],
    'without sub': [{ ...good, sub: undefined }],
    'with an empty sub': [{ ...good, sub: '' }],
    'that has expired': [{ ...good, exp: t - 60 }, 'expired_credential'],
    'with exp as text': [{ ...good, exp: String(t + 300) }],
    'that is to come': [{ ...good, nbf: t + 61 }],
    'that is a refresh token': [{ ...good, token_type: 'Refresh' }],
    'that is used as a refresh token': [{ ...good, token_use: 'refresh_token' }],
    'with token_type N_A': [{ ...good, token_type: 'N_A' }],
    'bound in an unknown way': [{ ...good, cnf: { kid: 'x' } }],
    'of the type DPoP that says no key': [{ ...good, token_type: 'DPoP' }],
    'of the type DPoP that is bound to a certificate alone': [{ ...good, token_type: 'DPoP', cnf: { 'x5t#S256': 'A'.repeat(43) } }],
  }
  for (const [name, [answer, reason = 'invalid_credential']] of Object.entries(refused)) {
    it(`rejects a token ${name}`, async () => {
      const claims = JSON.parse(JSON.stringify(answer)) as JsonObject
      const said = claims['active'] === false ? { kind: 'inactive' as const } : claims
      assert.equal(await asking({ opaque: said }).reason('opaque'), reason)
    })
  }
  it('is unavailable where the issuer is', async () => {
    assert.equal(await asking({ opaque: { kind: 'unavailable', detail: 'down' } }).reason('opaque'), 'identity_unavailable')
  })

  it('asks nobody about what is another’s', async () => {
    const { reason, asked } = asking({})
    const foreign = signToken({ alg: 'ES256', kid: 'ec' }, { ...good, iss: 'https://other.example' })
    const strangers = {
      'a JWT of another issuer': foreign,
      'a broken one': `${foreign}==`,
      'an unsigned one': `${encode({ alg: 'none' })}.${encode({ iss: 'https://other.example' })}.`,
      'a key of ours': 'postern_key_abcdefgh',
      'a text with spaces': 'a b',
      'a text with quotes': '"x"',
      'a text over 8 KiB': 'x'.repeat(8193),
    }
    for (const [name, token] of Object.entries(strangers)) assert.equal(await reason(token), 'abstain', name)
    assert.deepEqual(asked, [])
  })
  it('leaves other schemes alone, and what comes beside a token that Envoy verified', async () => {
    const { verdict, validator, asked } = asking({ opaque: good })
    assert.equal(await verdict('opaque', 'Basic'), 'abstain')
    await verdict('opaque')
    const beside = { ...present('Bearer opaque', now), verified: { iss: issuer, sub: 'bob' } }
    assert.equal(validator.identify(beside), 'abstain')
    assert.deepEqual(asked, ['opaque'])
  })
  it('verifies JWTs of its own issuer itself', async () => {
    const { reason, asked } = asking({})
    const jwt = { iss: issuer, sub: 'bob', aud: 'edge', exp: t + 300 }
    assert.equal(await reason(signToken({ alg: 'ES256', kid: 'ec' }, jwt)), 'admitted')
    assert.deepEqual(asked, [])
  })

  describe('of all tokens', () => {
    const jwt = { iss: issuer, jti: 'light', exp: t + 300 }
    const token = signToken({ alg: 'ES256', kid: 'ec' }, jwt)
    const all = (answers: Parameters<typeof asking>[0]) => asking(answers, { signed: { ...header, keys: { find } } })
    it('asks about a genuine JWT, and goes by the answer', async () => {
      const { verdict, asked } = all({ [token]: good })
      assert.equal(principal(await verdict(token)).subject, 'alice')
      assert.equal(principal(await verdict(token)).subject, 'alice')
      assert.deepEqual(asked, [token])
    })
    it('rejects one that was revoked', async () => assert.equal(await all({}).reason(token), 'invalid_credential'))
    it('asks nobody about a forged, expired or foreign one', async () => {
      const { reason, asked } = all({})
      assert.equal(await reason(signToken({ alg: 'ES256', kid: 'else' }, jwt)), 'invalid_credential')
      assert.equal(await reason(`${token.slice(0, -8)}AAAAAAAA`), 'invalid_credential')
      assert.equal(await reason(`${encode({ alg: 'none' })}.${encode(jwt)}.`), 'invalid_credential')
      assert.equal(await reason(signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, exp: t - 60 })), 'expired_credential')
      assert.equal(await reason(signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, iss: 'https://other.example' })), 'abstain')
      assert.deepEqual(asked, [])
    })
    it('keeps what a genuine JWT is bound to, whatever the answer leaves out', async () => {
      const jkt = 'A'.repeat(43)
      const bound = signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, cnf: { jkt } })
      for (const [answer, expected] of [
        [good, { x5tS256: undefined, jkt }],
        [
          { ...good, cnf: { 'x5t#S256': 'B'.repeat(43) } },
          { x5tS256: 'B'.repeat(43), jkt },
        ],
        [
          { ...good, cnf: { jkt: 'C'.repeat(43) } },
          { x5tS256: undefined, jkt },
        ],
      ] as const) {
        const { verdict } = all({ [bound]: answer })
        for (const when of ['asked', 'remembered']) assert.deepEqual(principal(await verdict(bound)).confirmation, expected, when)
      }
      assert.equal(await all({ [bound]: { ...good, cnf: 'x' } }).reason(bound), 'invalid_credential')
      const odd = signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, cnf: 'x' })
      assert.equal(await all({ [odd]: good }).reason(odd), 'invalid_credential')
    })
    it('holds a genuine JWT to its own times too', async () => {
      const { exp: _, ...endless } = good
      const short = signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, exp: t + 5 })
      for (const answer of [endless, good]) {
        const { verdict } = all({ [short]: answer })
        assert.equal(principal(await verdict(short)).expiresAt, t + 5)
        const late = await verdict(short, 'Bearer', now + 65_000)
        assert.ok(late instanceof Deny && late.reason === 'expired_credential')
      }
      const early = signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, nbf: t + 100 })
      assert.equal(await all({ [early]: good }).reason(early), 'invalid_credential')
    })
    it('keeps what it is revoked by, who acts, and what kind of token it is, and takes no rights from it', async () => {
      const more = { jti: 'j7', iat: t - 9, act: { sub: 'agent' }, roles: ['old'], typ: 'ID' }
      const full = signToken({ alg: 'ES256', kid: 'ec' }, { ...jwt, ...more })
      const { roles: _, ...silent } = good
      const who = principal(await all({ [full]: silent }).verdict(full))
      assert.deepEqual([who.tokenId, who.issuedAt, who.actor?.subject, who.roles], ['j7', t - 9, 'agent', []])
      const typed = asking({ [full]: good }, { signed: { ...header, keys: { find } }, kind: { claim: 'typ', values: ['Bearer'] } })
      assert.equal(await typed.reason(full), 'invalid_credential')
    })
    it('goes by no other validator’s look at the token', async () => {
      const shared = all({ [token]: good })
      const strict = oidcIntrospected(oidcByPostern({ ...rules, ...header, keys: { find } }), {
        ...rules,
        introspection: shared.introspection,
        signed: { ...header, types: ['at+jwt'], keys: { find } },
      })
      assert.equal(await shared.reason(token), 'admitted')
      const verdict = await strict.identify(present(`Bearer ${token}`, now))
      assert.ok(verdict instanceof Deny && verdict.reason === 'invalid_credential', 'its typ is none of at+jwt')
    })
    it('still asks about opaque ones', async () => assert.equal(await all({ opaque: good }).reason('opaque'), 'admitted'))
  })

  it('takes no JWT apart that says whose it is, once that is known', async () => {
    const { validator } = asking({})
    const jwt = signToken({ alg: 'ES256', kid: 'ec' }, { iss: issuer, sub: 'bob', aud: 'edge', exp: t + 300 })
    const issuers = new Map<string, string>()
    const presentation = () => ({ ...present(undefined, now), credential: readCredential(`Bearer ${jwt}`, issuers) })
    principal(await validator.identify(presentation()))
    const again = presentation()
    let parsed = 0
    const credential = new Proxy(again.credential, {
      get: (target, name) => {
        if (name === 'jwt') parsed++
        return Reflect.get(target, name, target)
      },
    })
    principal(await validator.identify({ ...again, credential }))
    assert.equal(parsed, 0)
  })

  it('gives one validator’s answer to no other', async () => {
    const one = asking({ opaque: good })
    const other = asking({ opaque: { ...good, sub: 'mallory' } })
    assert.equal(principal(await one.verdict('opaque')).subject, 'alice')
    assert.equal(principal(await other.verdict('opaque')).subject, 'mallory')
    assert.equal(principal(await one.verdict('opaque')).subject, 'alice')
    assert.equal(readCredential('Bearer opaque').digest.length, 64)
  })
})
