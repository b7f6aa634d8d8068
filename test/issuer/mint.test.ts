import assert from 'node:assert/strict'
import { adminScopes, type Minted } from '../../src/core/issuer.ts'
import type { TokenRequest } from '../../src/core/ports.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import { posternTokens } from '../../src/identity/postern.ts'
import { adminTokens } from '../../src/issuer/admin-token.ts'
import { type KeyRing, openKeyRing } from '../../src/issuer/key-ring.ts'
import { createMint, type Mint } from '../../src/issuer/mint.ts'
import { encode, present, signToken } from '../identity/tokens.ts'
import { sharedKeys } from './key-store.ts'

const now = 1_800_000_000_500
const t = 1_800_000_000
const issuer = 'http://127.0.0.1:9193'
const principal: Principal = {
  validator: 'users',
  issuer: 'https://idp.example',
  subject: 'u:alice',
  rawSubject: 'alice',
  roles: ['r1'],
  scopes: ['invoke:sandbox:*', 'read:x:y'],
  claims: {},
  issuedAt: t,
  expiresAt: t + 3600,
  digest: 'd',
}
const request: TokenRequest = {
  principal,
  workload: 'spiffe://td/ns/a/sa/r',
  audience: 'picod',
  scope: [],
  ttl: 60,
  resource: undefined,
  via: 'issuer',
  now,
}
const part = (token: string, index: number): Record<string, unknown> =>
  JSON.parse(Buffer.from(token.split('.')[index]!, 'base64url').toString())

describe('mint', () => {
  let ring: KeyRing
  let mint: Mint
  before(async () => {
    const { store, feed } = sharedKeys()
    ring = await openKeyRing({ store, feed, publishBeforeMs: 900_000, rotateEveryMs: 1e9, keepForMs: 1e8, clock: () => now })
    mint = createMint({ issuer, signer: ring, adminAudience: 'postern-admin' })
  })
  after(() => ring.close())
  const claims = (more: Partial<TokenRequest> = {}): Record<string, unknown> => {
    const minted = mint.downstream({ ...request, ...more })
    assert.ok(minted)
    return part(minted.token, 1)
  }

  it('makes a downstream token', () => {
    const minted = mint.downstream({ ...request, scope: ['invoke:sandbox:s1', 'write:x:y'], resource: 'sandbox:s1' })!
    assert.deepEqual(part(minted.token, 0), { alg: 'ES256', typ: 'JWT', kid: ring.jwks().keys[0]!.kid })
    assert.deepEqual(part(minted.token, 1), {
      iss: issuer,
      sub: 'u:alice',
      aud: 'picod',
      scope: 'invoke:sandbox:s1',
      act: { sub: 'spiffe://td/ns/a/sa/r' },
      resource: 'sandbox:s1',
      iat: t,
      exp: t + 60,
      jti: minted.id,
    })
    assert.notEqual(mint.downstream(request)!.id, mint.downstream(request)!.id)
  })
  it('leaves out what there is nothing of', () => {
    assert.deepEqual(Object.keys(claims({ workload: undefined })).sort(), ['aud', 'exp', 'iat', 'iss', 'jti', 'sub'])
  })
  it('nests earlier actors in the one that acts now', () => {
    const actor = { subject: 'a1', issuer: 'i', actor: { subject: 'a0' } }
    assert.deepEqual(claims({ principal: { ...principal, actor } })['act'], {
      sub: request.workload,
      act: { sub: 'a1', iss: 'i', act: { sub: 'a0' } },
    })
    assert.deepEqual(claims({ principal: { ...principal, actor }, workload: undefined })['act'], {
      sub: 'a1',
      iss: 'i',
      act: { sub: 'a0' },
    })
  })
  const lives: [string, number, number, number | undefined][] = [
    ['the route’s ttl', 30, t + 3600, t + 30],
    ['300 s at most', 3600, t + 36000, t + 300],
    ['no later than the credential and the skew', 300, t + 100, t + 160],
    ['an end within the skew', 60, t - 30.5, t + 29],
    ['a credential without end', 60, Number.POSITIVE_INFINITY, t + 60],
    ['a credential past its end and the skew', 60, t - 60, undefined],
  ]
  for (const [name, ttl, expiresAt, exp] of lives) {
    it(`ends with ${name}`, () =>
      assert.equal(mint.downstream({ ...request, ttl, principal: { ...principal, expiresAt } })?.expiresAt, exp))
  }

  describe('tokens of one kind', () => {
    const edge = (): Minted => mint.edge({ audience: 'postern', subject: 'a7', roles: ['r1'], scopes: ['x:y'], ttl: 120, now })
    const admits = (token: string): boolean => {
      const own = posternTokens({ validator: 'agents', issuer, audience: 'postern', namespace: '', mayAssert: undefined, keys: ring })
      const verdict = own.identify(present(`Bearer ${token}`, now))
      assert.ok(!(verdict instanceof Promise))
      return verdict !== 'abstain' && !(verdict instanceof Deny)
    }
    const admin = (token: string, at = now) => adminTokens({ issuer, adminAudience: 'postern-admin', keys: ring })(token, at)

    it('pass where they belong and nowhere else', () => {
      const tokens = {
        edge: edge().token,
        downstream: mint.downstream({ ...request, audience: 'postern' })!.token,
        admin: mint.admin('root', now).token,
      }
      assert.deepEqual([tokens.edge, tokens.downstream, tokens.admin].map(admits), [true, false, false])
      assert.deepEqual(
        [tokens.edge, tokens.downstream, tokens.admin].map((token) => admin(token) !== undefined),
        [false, false, true],
      )
    })
    it('tell the admin, for 300 s', () => {
      const minted = mint.admin('root', now)
      assert.deepEqual(admin(minted.token), {
        subject: 'root',
        scopes: [...adminScopes],
        tokenId: minted.id,
        issuedAt: t,
        expiresAt: t + 300,
      })
      assert.equal(admin(minted.token, (t + 300) * 1000), undefined)
      assert.ok(admin(minted.token, (t + 299) * 1000))
    })
    it('are not forged', () => {
      const { token } = mint.admin('root', now)
      const head = part(token, 0)
      const body = part(token, 1)
      assert.equal(admin(signToken(head, body)), undefined)
      assert.equal(admin(`${encode({ ...head, alg: 'none' })}.${token.split('.')[1]}.c2ln`), undefined)
      for (const forged of [
        ring.sign({ ...body, aud: 'postern' } as never, head['typ'] as string),
        ring.sign({ ...body, aud: ['postern-admin'] } as never, head['typ'] as string),
        ring.sign({ ...body, iss: 'x' } as never, head['typ'] as string),
        ring.sign(body as never, 'at+jwt'),
        '',
        'x.y.z',
      ]) {
        assert.equal(admin(forged), undefined)
      }
      assert.ok(admin(ring.sign(body as never, head['typ'] as string)))
    })
  })
})
