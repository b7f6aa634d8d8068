import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { makeApiKey } from '../../src/core/api-key.ts'
import { readCredential } from '../../src/core/credential.ts'
import type { ApiKeyLookup, ApiKeyRecord } from '../../src/core/ports.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { Presentation } from '../../src/core/validator.ts'
import { type ApiKeysOptions, apiKeys } from '../../src/identity/api-keys.ts'
import { present } from './tokens.ts'

const nowMs = 1_800_000_000_000
const now = nowMs / 1000
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

describe('api-keys', () => {
  const records = new Map<string, ApiKeyRecord>()
  let uses: string[] = []
  let finds = 0
  let down = false
  const keys: ApiKeyLookup = {
    find: (digest) => {
      finds += 1
      return down ? 'unavailable' : records.get(digest)
    },
    used: ({ id }, at) => uses.push(`${id} ${at}`),
  }
  beforeEach(() => {
    uses = []
    finds = 0
    down = false
  })
  const keyOf = (id: string, more: Partial<ApiKeyRecord> = {}): string => {
    const key = makeApiKey()
    records.set(sha256(key), {
      id,
      digest: sha256(key),
      validator: 'partners',
      name: '',
      owner: 'acme',
      roles: ['editor'],
      scopes: ['invoke:sandbox:*'],
      createdAt: now - 60,
      createdBy: 'admin',
      expiresAt: undefined,
      revokedAt: undefined,
      ...more,
    })
    return key
  }
  const options: ApiKeysOptions = { validator: 'partners', namespace: 'key:', mayAssert: undefined, defaultRole: 'viewer', keys }
  const ask = (authorization: string | Presentation, more: Partial<ApiKeysOptions> = {}): string | Principal => {
    const presentation = typeof authorization === 'string' ? present(authorization, nowMs) : authorization
    const verdict = apiKeys({ ...options, ...more }).identify(presentation)
    assert.ok(!(verdict instanceof Promise), 'memory answers at once')
    return verdict instanceof Deny ? verdict.reason : verdict
  }
  const admitted = (verdict: string | Principal): Principal => (typeof verdict === 'string' ? assert.fail(verdict) : verdict)

  it('admits a key in Authorization: Bearer, and wherever else it is looked for', () => {
    const key = keyOf('k1')
    const principal = admitted(ask(`Bearer ${key}`))
    assert.deepEqual(principal, {
      validator: 'partners',
      issuer: 'urn:postern:api-keys:partners',
      subject: 'key:acme',
      rawSubject: 'acme',
      roles: ['editor'],
      scopes: ['invoke:sandbox:*'],
      claims: {},
      tokenId: 'k1',
      issuedAt: 0,
      expiresAt: Number.POSITIVE_INFINITY,
      digest: sha256(key),
    })
    const credential = readCredential(undefined, undefined, [{ place: 'header:x-api-key', token: key }])
    assert.deepEqual(ask({ ...present('Bearer x', nowMs), credential }), principal)
    assert.deepEqual(uses, [`k1 ${nowMs}`, `k1 ${nowMs}`])
  })

  it('gives the same principal as long as the key is the same', () => {
    const validator = apiKeys(options)
    const presented = present(`Bearer ${keyOf('same')}`, nowMs)
    assert.equal(validator.identify(presented), validator.identify(presented))
  })

  it('gives the default role where the key has none, and no more than may_assert', () => {
    const [none, some] = [`Bearer ${keyOf('none', { roles: [] })}`, `Bearer ${keyOf('some', { roles: ['editor', 'admin'] })}`]
    assert.deepEqual(admitted(ask(none)).roles, ['viewer'])
    assert.deepEqual(admitted(ask(none, { defaultRole: undefined })).roles, [])
    assert.deepEqual(admitted(ask(some)).roles, ['editor', 'admin'])
    assert.deepEqual(admitted(ask(some, { mayAssert: new Set(['editor']) })).roles, ['editor'])
    assert.deepEqual(admitted(ask(none, { mayAssert: new Set(['editor']) })).roles, [])
  })

  it('abstains on what is no API key of ours, and on other schemes', () => {
    for (const authorization of ['Bearer eyJhbGciOiJub25lIn0.e30.', 'Bearer sk-123', 'Bearer ', 'Basic cG9zdGVybl9rZXlfOng=', 'Bearer'])
      assert.equal(ask(authorization), 'abstain', authorization)
    const key = keyOf('schemes')
    for (const authorization of [key, `DPoP ${key}`, `Token ${key}`, `Bearer  ${key}`, `Bearer POSTERN_KEY_${key.slice(12)}`])
      assert.equal(ask(authorization), 'abstain', authorization)
    assert.equal(finds, 0)
  })

  it('rejects what is not whole without a look-up', () => {
    const key = keyOf('whole')
    const other = key.endsWith('0') ? '1' : '0'
    for (const wrong of [key.slice(0, -1) + other, key.slice(0, -1), `${key}0`, `${key} `, `${key},${key}`, 'postern_key_'])
      assert.equal(ask(`Bearer ${wrong}`), 'invalid_credential', wrong)
    assert.equal(finds, 0)
  })

  it('rejects a key that was never made here', () => {
    assert.equal(ask(`Bearer ${makeApiKey()}`), 'invalid_credential')
    assert.equal(finds, 1)
  })

  it('rejects one whose stored digest is another, were it ever found', () => {
    const key = keyOf('collided')
    records.set(sha256(key), { ...records.get(sha256(key))!, digest: sha256('another') })
    assert.equal(ask(`Bearer ${key}`), 'invalid_credential')
  })

  it('abstains on the key of another validator', () => {
    assert.equal(ask(`Bearer ${keyOf('other', { validator: 'internal' })}`), 'abstain')
  })

  it('rejects an expired key from the second on in which it expires, and a revoked one', () => {
    assert.equal(ask(`Bearer ${keyOf('past', { expiresAt: now })}`), 'expired_credential')
    assert.equal(admitted(ask(`Bearer ${keyOf('future', { expiresAt: now + 1 })}`)).expiresAt, now + 1)
    assert.equal(ask(`Bearer ${keyOf('revoked', { revokedAt: now - 5 })}`), 'revoked')
    assert.equal(ask(`Bearer ${keyOf('both', { revokedAt: now - 5, expiresAt: now - 9 })}`), 'revoked')
    assert.deepEqual(uses, [`future ${nowMs}`])
  })

  it('does not know who is asking while state is not heard', () => {
    const key = keyOf('down')
    down = true
    assert.equal(ask(`Bearer ${key}`), 'identity_unavailable')
    assert.equal(ask('Bearer other'), 'abstain')
  })

  it('never tells the key, nor its digest', () => {
    const key = keyOf('quiet', { revokedAt: 1 })
    for (const [text, more] of [
      [`Bearer ${key}`, {}],
      [`Bearer ${key}x`, {}],
      [`Bearer ${makeApiKey()}`, {}],
    ] as const) {
      const verdict = apiKeys({ ...options, ...more }).identify(present(text, nowMs))
      assert.ok(verdict instanceof Deny)
      assert.ok(!verdict.detail.includes(key.slice(12, 30)) && !verdict.detail.includes(sha256(key)), verdict.detail)
    }
  })
})
