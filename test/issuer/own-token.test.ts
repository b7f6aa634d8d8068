import assert from 'node:assert/strict'
import { type TokenOrder, tokenTypes } from '../../src/core/issuer.ts'
import type { JsonObject } from '../../src/core/json.ts'
import { type KeyRing, openKeyRing } from '../../src/issuer/key-ring.ts'
import { createMint, type Mint } from '../../src/issuer/mint.ts'
import { ownTokens } from '../../src/issuer/own-token.ts'
import { sharedKeys } from './key-store.ts'

const now = 1_800_000_000_500
const t = 1_800_000_000
const issuer = 'http://127.0.0.1:9193'
const order: TokenOrder = {
  kind: 'edge',
  audience: 'postern',
  subject: 'spiffe://agents.local/agent/o/t/1',
  client: 'app-1',
  roles: ['sandbox:invoke'],
  scopes: ['read:data:*', 'write:data:1'],
  actor: { subject: 'b', actor: { subject: 'c', issuer: 'https://idp.example' } },
  task: 't',
  orchestration: 'o',
  confirmation: { x5tS256: undefined, jkt: 'a'.repeat(43) },
  ttl: 300,
  now,
}

describe('our own tokens', () => {
  let ring: KeyRing
  let mint: Mint
  let verify: ReturnType<typeof ownTokens>
  before(async () => {
    const { store, feed } = sharedKeys()
    ring = await openKeyRing({ store, feed, publishBeforeMs: 900_000, rotateEveryMs: 1e9, keepForMs: 1e8, clock: () => now })
    mint = createMint({ issuer, signer: ring, adminAudience: 'postern-admin' })
    verify = ownTokens({ issuer, keys: ring })
  })
  after(() => ring.close())

  it('say what was ordered', () => {
    const minted = mint.ordered(order)
    assert.deepEqual(verify(minted.token, now), {
      typ: 'at+jwt',
      claims: JSON.parse(Buffer.from(minted.token.split('.')[1]!, 'base64url').toString()),
      subject: order.subject,
      audience: ['postern'],
      id: minted.id,
      client: 'app-1',
      scopes: order.scopes,
      roles: order.roles,
      actor: order.actor,
      task: 't',
      orchestration: 'o',
      confirmation: order.confirmation,
      issuedAt: t,
      expiresAt: t + 300,
    })
  })

  it('each kind has a typ of its own', () => {
    const types = Object.keys(tokenTypes).map(
      (kind) => verify(mint.ordered({ ...order, kind: kind as TokenOrder['kind'] }).token, now)?.typ,
    )
    assert.deepEqual(types, ['at+jwt', 'JWT', 'postern-app+jwt', 'postern-refresh+jwt'])
    assert.equal(new Set([...types, verify(mint.admin('admin', now).token, now)?.typ]).size, 5)
  })

  it('no claim of a kind of its own stands for one that the order has', () => {
    const { token } = mint.ordered({ ...order, claims: { sub: 'root', aud: 'postern-admin', iss: 'x', exp: 9e9, jti: 'x', family: 'f' } })
    const read = verify(token, now)
    assert.deepEqual([read?.subject, read?.audience, read?.expiresAt, read?.claims['family']], [order.subject, ['postern'], t + 300, 'f'])
  })

  it('live no longer than their end', () => {
    assert.equal(mint.ordered({ ...order, end: t + 10 }).expiresAt, t + 10)
    assert.equal(mint.ordered({ ...order, end: t + 1000 }).expiresAt, t + 300)
  })

  it('end at exp, without skew', () => {
    const { token } = mint.ordered(order)
    assert.ok(verify(token, (t + 300) * 1000 - 1))
    assert.equal(verify(token, (t + 300) * 1000), undefined)
  })

  const payload: JsonObject = { iss: issuer, sub: 's', aud: 'a', iat: t, exp: t + 60, jti: 'j' }
  const bad: readonly (readonly [what: string, claims: JsonObject])[] = [
    ['of another issuer', { ...payload, iss: `${issuer}/` }],
    ['without a subject', { ...payload, sub: '' }],
    ['without an id', { ...payload, jti: 7 }],
    ['without exp', { ...payload, exp: 'never' }],
    ['without iat', { ...payload, iat: null }],
    [
      'with six actors',
      { ...payload, act: { sub: '1', act: { sub: '2', act: { sub: '3', act: { sub: '4', act: { sub: '5', act: { sub: '6' } } } } } } },
    ],
    ['with an actor without a name', { ...payload, act: {} }],
    ['bound to what cannot be proved', { ...payload, cnf: { jwk: {} } }],
  ]
  it('the payload that the bad ones are made of is good', () => assert.ok(verify(ring.sign(payload, 'at+jwt'), now)))
  for (const [what, claims] of bad) it(`is none ${what}`, () => assert.equal(verify(ring.sign(claims, 'at+jwt'), now), undefined))

  it('is none that another key signed, or that was changed', async () => {
    const { store, feed } = sharedKeys()
    const foreign = await openKeyRing({ store, feed, publishBeforeMs: 0, rotateEveryMs: 1e9, keepForMs: 1e8, clock: () => now })
    assert.equal(verify(foreign.sign(payload, 'at+jwt'), now), undefined)
    foreign.close()
    const [head, , signature] = ring.sign(payload, 'at+jwt').split('.')
    const changed = Buffer.from(JSON.stringify({ ...payload, sub: 'root' })).toString('base64url')
    assert.equal(verify(`${head}.${changed}.${signature}`, now), undefined)
  })
})
