import assert from 'node:assert/strict'
import { makeApiKey } from '../../src/core/api-key.ts'
import { readCredential } from '../../src/core/credential.ts'
import { Deny } from '../../src/core/reasons.ts'
import { readSharedTokens } from '../../src/core/shared-tokens.ts'
import type { Verdict } from '../../src/core/validator.ts'
import { type SharedTokenOptions, sharedToken } from '../../src/identity/shared-token.ts'
import { aRequest } from '../support/facts.ts'
import { handMadeToken } from '../support/oidc.ts'

const old = 'old-0123456789abcdef0123456789abcdef'
const next = 'new-0123456789abcdef0123456789abcdef'

function open(over: Partial<SharedTokenOptions> = {}) {
  const at = { secret: old }
  const faults: string[] = []
  const validator = sharedToken({
    validator: 'partner',
    secret: () => at.secret,
    role: 'viewer',
    endUserHeader: undefined,
    namespace: 'partner:',
    mayAssert: undefined,
    onFault: (detail) => faults.push(detail),
    ...over,
  })
  const ask = (authorization: string, headers: Readonly<Record<string, string | readonly string[]>> = {}): Verdict =>
    validator.identify({
      request: aRequest({ headers }),
      credential: readCredential(authorization),
      verified: undefined,
      now: 0,
    }) as Verdict
  return { at, faults, validator, ask }
}

const subjectOf = (verdict: Verdict): string => {
  assert.ok(typeof verdict === 'object' && !(verdict instanceof Deny), JSON.stringify(verdict))
  return verdict.subject
}
const reasonOf = (verdict: Verdict): string => (verdict instanceof Deny ? verdict.reason : verdict === 'abstain' ? verdict : 'identified')

describe('shared-token', () => {
  it('identifies whoever knows the token, always as the same', () => {
    const { ask } = open()
    const verdict = ask(`Bearer ${old}`)
    assert.ok(typeof verdict === 'object' && 'subject' in verdict)
    const { digest, ...principal } = verdict
    assert.match(digest, /^[0-9a-f]{64}$/)
    assert.deepEqual(principal, {
      validator: 'partner',
      issuer: 'urn:postern:shared-token:partner',
      subject: 'partner:partner',
      rawSubject: 'partner',
      roles: ['viewer'],
      scopes: [],
      claims: {},
      issuedAt: 0,
      expiresAt: Number.POSITIVE_INFINITY,
    })
    assert.equal(ask(`bearer ${old}`), verdict, 'and it is not made again')
  })
  it('gives no role that it may not assert, and none without one', () => {
    for (const over of [{ mayAssert: new Set(['editor']) }, { role: undefined }]) {
      const verdict = open(over).ask(`Bearer ${old}`)
      assert.ok(typeof verdict === 'object' && 'roles' in verdict)
      assert.deepEqual(verdict.roles, [])
    }
  })

  const judged: readonly (readonly [name: string, authorization: string, reason: string])[] = [
    ['another token', `Bearer ${next}`, 'invalid_credential'],
    ['one character less', `Bearer ${old.slice(0, -1)}`, 'invalid_credential'],
    ['one character more', `Bearer ${old}x`, 'invalid_credential'],
    ['another case', `Bearer ${old.toUpperCase()}`, 'invalid_credential'],
    ['with a space behind it', `Bearer ${old} `, 'invalid_credential'],
    ['empty', 'Bearer ', 'invalid_credential'],
    ['dots that make no JWT', `Bearer a.b.${old}`, 'invalid_credential'],
    ['a JWT', `Bearer ${handMadeToken({ alg: 'ES256' }, { iss: 'x' }, Buffer.from('s'))}`, 'abstain'],
    ['a JWT without a signature', `Bearer ${handMadeToken({ alg: 'none' }, { iss: 'x' })}`, 'abstain'],
    ['an API key', `Bearer ${makeApiKey()}`, 'abstain'],
    ['what begins as an API key', 'Bearer postern_key_x', 'abstain'],
    ['Basic', `Basic ${Buffer.from(`u:${old}`).toString('base64')}`, 'abstain'],
    ['no scheme', old, 'abstain'],
    ['another scheme', `Token ${old}`, 'abstain'],
  ]
  for (const [name, authorization, reason] of judged) {
    it(`${name}: ${reason}`, () => assert.equal(reasonOf(open().ask(authorization)), reason))
  }

  describe('while it is rotated', () => {
    it('admits the old one and the new one, then the new one alone', () => {
      const { at, ask } = open()
      const before = ask(`Bearer ${old}`)
      at.secret = `${old}\n${next}`
      assert.equal(ask(`Bearer ${old}`), before)
      assert.equal(subjectOf(ask(`Bearer ${next}`)), 'partner:partner', 'it is the same caller')
      at.secret = next
      assert.equal(reasonOf(ask(`Bearer ${old}`)), 'invalid_credential')
      assert.equal(subjectOf(ask(`Bearer ${next}`)), 'partner:partner')
    })
    it('keeps the last good ones where the file is spoilt, and says so once, without what it holds', () => {
      const { at, faults, ask } = open()
      ask(`Bearer ${old}`)
      at.secret = `${old}\n${next}\n${'third'.repeat(8)}`
      for (let i = 0; i < 3; i++) assert.equal(subjectOf(ask(`Bearer ${old}`)), 'partner:partner')
      assert.equal(reasonOf(ask(`Bearer ${next}`)), 'invalid_credential')
      assert.equal(faults.length, 1)
      assert.match(faults[0]!, /there are 3 tokens: .*the last good tokens stay in use/)
      assert.ok(!faults[0]!.includes(old))
      at.secret = next
      assert.equal(subjectOf(ask(`Bearer ${next}`)), 'partner:partner')
    })
    it('admits nobody where there never was a good one', () => {
      const { faults, ask } = open({ secret: () => 'short' })
      assert.equal(reasonOf(ask('Bearer short')), 'invalid_credential')
      assert.equal(faults.length, 1)
    })
  })

  describe('end users', () => {
    const trusting = () => open({ endUserHeader: 'x-end-user' })
    it('become the principal, with the callers as actor', () => {
      const { ask } = trusting()
      const verdict = ask(`Bearer ${old}`, { 'x-end-user': 'jane@partner.example' })
      assert.ok(typeof verdict === 'object' && 'subject' in verdict)
      assert.equal(verdict.subject, 'partner:jane@partner.example')
      assert.equal(verdict.rawSubject, 'jane@partner.example')
      assert.deepEqual(verdict.roles, ['viewer'])
      assert.deepEqual(verdict.actor, { issuer: 'urn:postern:shared-token:partner', subject: 'partner:partner' })
      assert.equal(ask(`Bearer ${old}`, { 'x-end-user': 'jane@partner.example' }), verdict)
      assert.equal(subjectOf(ask(`Bearer ${old}`, { 'x-end-user': 'john' })), 'partner:john')
      assert.equal(subjectOf(ask(`Bearer ${old}`)), 'partner:partner', 'who names nobody is the callers')
    })
    it('are ignored where the policy does not trust the header', () => {
      assert.equal(subjectOf(open().ask(`Bearer ${old}`, { 'x-end-user': 'jane' })), 'partner:partner')
    })
    it('are not looked at before the token', () => {
      assert.equal(reasonOf(trusting().ask(`Bearer ${next}`, { 'x-end-user': 'jane' })), 'invalid_credential')
    })
    const wrong: readonly (string | readonly string[])[] = [
      '',
      ' jane',
      'jane doe',
      'jane,john',
      ['jane', 'john'],
      'jané',
      'ja\u0000ne',
      'ja\ufffdne',
      'partner',
      'x'.repeat(257),
    ]
    for (const name of wrong) {
      it(`refuses ${JSON.stringify(name).slice(0, 40)}`, () => {
        assert.equal(reasonOf(trusting().ask(`Bearer ${old}`, { 'x-end-user': name })), 'invalid_credential')
      })
    }
    it('takes every other visible character', () => {
      const visible = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i))
        .join('')
        .replace(',', '')
      assert.equal(subjectOf(trusting().ask(`Bearer ${old}`, { 'x-end-user': visible })), `partner:${visible}`)
    })
  })
})

describe('the secret of a shared token', () => {
  it('is one token a line, whatever ends the lines', () => {
    assert.deepEqual(readSharedTokens(`${old}`), [old])
    assert.deepEqual(readSharedTokens(`${old}\r\n\r\n${next}\n`), [old, next])
  })
  const faults: readonly (readonly [string, RegExp])[] = [
    ['', /no token/],
    ['x'.repeat(31), /line 1 is too short: expected at least 32/],
    [`${old}\n${'x'.repeat(31)}`, /line 2 is too short/],
    ['x'.repeat(4097), /too long/],
    [`${old} `, /no bearer token/],
    [`${old},${next}`, /no bearer token/],
    ['é'.repeat(40), /no bearer token/],
    [`${old}\n${next}\n${old}`, /there are 3 tokens/],
  ]
  for (const [text, fault] of faults) {
    it(String(fault), () => {
      const read = readSharedTokens(text)
      assert.ok(typeof read === 'string')
      assert.match(read, fault)
    })
  }
})
