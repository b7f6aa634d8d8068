import assert from 'node:assert/strict'
import { readCredential } from '../../src/core/credential.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { Verdict } from '../../src/core/validator.ts'
import type { KeyAnswer } from '../../src/core/verification-keys.ts'
import { pageTokens } from '../../src/identity/management-plane.ts'
import { aRequest } from '../support/facts.ts'
import { ec, encode, rsa, signToken } from './tokens.ts'

const issuer = 'https://issuer.example'
const at = 1_800_000_000
const good = { iss: issuer, sub: 'admin', aud: 'postern-page', roles: ['viewer'], scope: 'a b', iat: at, exp: at + 60, jti: 'j1' }
const header = { alg: 'RS256', typ: 'postern-page+jwt', kid: 'page:k1' }

const keys = {
  find: (kid: string | undefined, alg: string): KeyAnswer =>
    kid === 'page:k1' && alg === 'RS256' ? { kind: 'key', key: rsa.publicKey } : { kind: 'unknown' },
}
const validator = pageTokens({ issuer, keys })

const ask = async (authorization: string, now = at * 1000, by = validator): Promise<Verdict> =>
  by.identify({ request: aRequest(), credential: readCredential(authorization), verified: undefined, now })
const reasonOf = (verdict: Verdict): string => (verdict instanceof Deny ? verdict.reason : verdict === 'abstain' ? verdict : 'identified')
const token = (claims: object = {}, head: object = {}, key = rsa.privateKey): string =>
  signToken({ ...header, ...head }, without({ ...good, ...claims }), key)
const without = (members: object): JsonObject =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as JsonObject

describe('management-plane', () => {
  it('identifies an operator', async () => {
    const verdict = await ask(`Bearer ${token()}`)
    assert.ok(typeof verdict === 'object' && 'subject' in verdict)
    const { digest, claims, ...principal } = verdict
    assert.match(digest, /^[0-9a-f]{64}$/)
    assert.deepEqual(claims, good)
    assert.deepEqual(principal, {
      validator: 'management-plane',
      issuer,
      subject: 'operator:admin',
      rawSubject: 'admin',
      roles: ['viewer'],
      scopes: ['a', 'b'],
      issuedAt: at,
      expiresAt: at + 60,
      tokenId: 'j1',
    })
  })
  it('for 60 s and not a moment longer', async () => {
    const text = `Bearer ${token()}`
    assert.equal(reasonOf(await ask(text, (at + 60) * 1000 - 1)), 'identified')
    assert.equal(reasonOf(await ask(text, (at + 60) * 1000)), 'expired_credential')
  })
  it('answers that it cannot know while there are no keys', async () => {
    const waiting = pageTokens({ issuer, keys: { find: () => ({ kind: 'unavailable', detail: 'not yet' }) } })
    assert.equal(reasonOf(await ask(`Bearer ${token()}`, at * 1000, waiting)), 'identity_unavailable')
  })

  const cases: readonly (readonly [name: string, authorization: () => string, reason: string])[] = [
    ['another type of ours', () => `Bearer ${token({}, { typ: 'at+jwt' })}`, 'abstain'],
    ['no type', () => `Bearer ${token({}, { typ: undefined })}`, 'abstain'],
    ['an admin token', () => `Bearer ${token({ aud: 'postern-admin' }, { typ: 'postern-admin+jwt' })}`, 'abstain'],
    ['another issuer', () => `Bearer ${token({ iss: 'https://other.example' })}`, 'abstain'],
    ['no issuer', () => `Bearer ${token({ iss: undefined })}`, 'abstain'],
    ['no JWT', () => 'Bearer abc', 'abstain'],
    ['nothing', () => 'Bearer ', 'abstain'],
    ['Basic', () => `Basic ${token()}`, 'abstain'],
    ['ES256 with a key of ours', () => `Bearer ${token({}, { alg: 'ES256' }, ec.privateKey)}`, 'invalid_credential'],
    ['PS256', () => `Bearer ${token({}, { alg: 'PS256' })}`, 'invalid_credential'],
    ['alg none', () => `Bearer ${encode({ ...header, alg: 'none' })}.${encode(good)}.`, 'invalid_credential'],
    ['a critical header', () => `Bearer ${token({}, { crit: ['x'], x: 1 })}`, 'invalid_credential'],
    ['another key', () => `Bearer ${token({}, { kid: 'page:k2' })}`, 'invalid_credential'],
    ['no key', () => `Bearer ${token({}, { kid: undefined })}`, 'invalid_credential'],
    ['a changed payload', () => changed(token()), 'invalid_credential'],
    ['no signature', () => `Bearer ${token().split('.').slice(0, 2).join('.')}.`, 'invalid_credential'],
    ['the edge audience', () => `Bearer ${token({ aud: 'postern' })}`, 'invalid_credential'],
    ['several audiences', () => `Bearer ${token({ aud: ['postern-page', 'postern'] })}`, 'invalid_credential'],
    ['no audience', () => `Bearer ${token({ aud: undefined })}`, 'invalid_credential'],
    ['a life of more than 60 s', () => `Bearer ${token({ exp: at + 61 })}`, 'invalid_credential'],
    ['no expiry', () => `Bearer ${token({ exp: undefined })}`, 'invalid_credential'],
    ['no time of issue', () => `Bearer ${token({ iat: undefined })}`, 'invalid_credential'],
    ['issued long from now', () => `Bearer ${token({ iat: at + 100, exp: at + 120 })}`, 'invalid_credential'],
    ['no subject', () => `Bearer ${token({ sub: undefined })}`, 'invalid_credential'],
    ['an empty subject', () => `Bearer ${token({ sub: '' })}`, 'invalid_credential'],
    ['expired', () => `Bearer ${token({ iat: at - 61, exp: at - 1 })}`, 'expired_credential'],
  ]
  for (const [name, authorization, reason] of cases) {
    it(`${name}: ${reason}`, async () => assert.equal(reasonOf(await ask(authorization())), reason))
  }
})

function changed(text: string): string {
  const [head, , signature] = text.split('.')
  return `Bearer ${head}.${encode({ ...good, roles: ['admin'] })}.${signature}`
}
