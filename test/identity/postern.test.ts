import assert from 'node:assert/strict'
import type { KeyObject } from 'node:crypto'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { KeyAnswer } from '../../src/core/verification-keys.ts'
import { posternTokens } from '../../src/identity/postern.ts'
import { ec, ed, present, rsa, signToken } from './tokens.ts'

const now = 1_800_000_000_000
const t = now / 1000
const good = { iss: 'https://issuer.example', aud: 'postern', sub: 'a1', exp: t + 300, iat: t, jti: 'j1' }
const keys = new Map<string, KeyObject>([
  ['ec', ec.publicKey],
  ['rsa', rsa.publicKey],
  ['ed', ed.publicKey],
])
const find = (kid: string | undefined): KeyAnswer => {
  const key = keys.get(kid ?? '')
  return key ? { kind: 'key', key } : { kind: 'unknown' }
}
const header = { alg: 'ES256', kid: 'ec', typ: 'at+jwt' }
const open = (late = false) =>
  posternTokens({
    validator: 'agents',
    issuer: 'https://issuer.example',
    audience: 'postern',
    namespace: 'agent:',
    mayAssert: undefined,
    keys: { find: late ? async (kid) => find(kid) : find },
  })
const ask = (token: string, validator = open()): string | Principal => {
  const verdict = validator.identify(present(`Bearer ${token}`, now))
  assert.ok(!(verdict instanceof Promise), 'memory answers at once')
  return verdict instanceof Deny ? verdict.reason : verdict
}
const issuedOf = (claims: object) => {
  const verdict = ask(signToken(header, { ...good, ...claims }))
  return typeof verdict === 'string' ? verdict : verdict.issued
}

describe('tokens of our own issuer', () => {
  for (const [alg, kid, key] of [
    ['ES256', 'ec', ec.privateKey],
    ['EdDSA', 'ed', ed.privateKey],
    ['RS256', 'rsa', rsa.privateKey],
  ] as const)
    it(`are admitted with ${alg}`, () => assert.equal(typeof ask(signToken({ ...header, alg, kid }, good, key)), 'object'))

  it('are not admitted with an algorithm that our keys never sign with, nor with the key of another', () => {
    assert.equal(ask(signToken({ ...header, alg: 'PS256', kid: 'rsa' }, good, rsa.privateKey)), 'invalid_credential')
    assert.equal(ask(signToken({ ...header, alg: 'RS256', kid: 'ec' }, good, rsa.privateKey)), 'invalid_credential')
    assert.equal(ask(signToken({ ...header, alg: 'EdDSA', kid: 'rsa' }, good, ed.privateKey)), 'invalid_credential')
  })

  it('tell whom they were issued to, by texts alone', () => {
    assert.deepEqual(issuedOf({}), {})
    assert.deepEqual(issuedOf({ client_id: 'app-1', task_id: 'task-1', orch_id: 'o' }), { client: 'app-1', task: 'task-1' })
    for (const odd of [1, null, true, '', ['app-1'], { id: 'app-1' }]) assert.deepEqual(issuedOf({ client_id: odd, task_id: odd }), {})
  })

  it('are the same principal each time, late or at once', async () => {
    const token = signToken(header, { ...good, client_id: 'app-1' })
    const validator = open()
    assert.equal(ask(token, validator), ask(token, validator))
    const late = await open(true).identify(present(`Bearer ${token}`, now))
    assert.deepEqual(late, ask(token, validator))
  })

  it('are none where they are no edge tokens', async () => {
    for (const typ of ['JWT', 'postern-admin+jwt', 'postern-app+jwt', 'postern-refresh+jwt', undefined])
      assert.equal(ask(signToken({ ...header, typ }, good)), 'invalid_credential')
    assert.equal(ask(signToken(header, { ...good, aud: 'picod' })), 'invalid_credential')
    assert.equal(ask(signToken(header, { ...good, iss: 'https://other.example' })), 'abstain')
    const late = await open(true).identify(present(`Bearer ${signToken(header, { ...good, aud: 'picod' })}`, now))
    assert.ok(late instanceof Deny)
  })
})
