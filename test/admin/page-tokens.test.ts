import assert from 'node:assert/strict'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import type { PagePort } from '../../src/admin/ports.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { createPageMint } from '../../src/issuer/mint.ts'
import { createPageKey, load, signCompact } from '../../src/issuer/signing-key.ts'
import { type Fixture, openFixture } from './fixture.ts'

const path = '/v1/page-tokens'

describe('page tokens', () => {
  let at: Fixture
  let token: string
  let admitted = true
  let fault: Error | undefined
  before(async () => {
    const key = load(await createPageKey(0, 0), undefined)
    const mint = createPageMint({ issuer: 'http://127.0.0.1:9193', signer: { sign: (payload, typ) => signCompact(key, payload, typ) } })
    const pages: PagePort = {
      admitted: () => admitted,
      roles: () => new Set(['viewer', 'admin']),
      mint: (order) => {
        if (fault) throw fault
        return mint(order)
      },
    }
    at = await openFixture(() => ({ pages, workloads: () => new Set(['spiffe://cluster.local/ns/a/sa/b']) }))
    token = await at.login()
  })
  after(() => at?.close())
  beforeEach(() => {
    admitted = true
    fault = undefined
  })
  const ask = (body?: object, bearer = token) => at.ask(path, { method: 'POST', token: bearer, ...(body && { body }) })

  it('are minted in the name of who asks, and are in the audit trail first', async () => {
    const answer = await ask({ roles: ['viewer'], scopes: ['invoke:sandbox:*'], ttl: 20 })
    assert.equal(answer.status, 201, answer.text)
    const minted = String(answer.json['access_token'])
    assert.equal(decodeProtectedHeader(minted).typ, 'postern-page+jwt')
    const { iat, exp, jti, ...claims } = decodeJwt(minted)
    assert.deepEqual(claims, {
      iss: 'http://127.0.0.1:9193',
      sub: 'admin',
      aud: 'postern-page',
      roles: ['viewer'],
      scope: 'invoke:sandbox:*',
    })
    assert.deepEqual([exp! - iat!, answer.json['expires_in'], answer.json['token_type'], answer.json['jti']], [20, 20, 'Bearer', jti])
    assert.equal(answer.headers['cache-control'], 'no-store')
    const [event] = await at.state.audit.tail(1)
    assert.deepEqual([event?.type, event?.outcome, event?.actor, event?.target], ['token_issued', 'success', 'admin', jti])
    assert.deepEqual(event?.detail, {
      subject: 'operator:admin',
      roles: ['viewer'],
      scope: ['invoke:sandbox:*'],
      audience: 'postern-page',
      expires_at: exp,
    })
    assert.equal(JSON.stringify(event).includes(minted), false)
  })
  it('carry nothing and live for 60 s unless more is said', async () => {
    const answer = await ask()
    assert.equal(answer.status, 201, answer.text)
    const { iat, exp, roles, scope } = decodeJwt(String(answer.json['access_token']))
    assert.deepEqual([exp! - iat!, roles, scope], [60, undefined, undefined])
  })
  const wrong: readonly (readonly [name: string, body: object, reason: string])[] = [
    ['a role that the policy does not have', { roles: ['viewer', 'root'] }, 'bad_role'],
    ['a longer life', { ttl: 61 }, 'bad_body'],
    ['no life', { ttl: 0 }, 'bad_body'],
    ['another subject', { subject: 'alice' }, 'bad_body'],
    ['roles that are no list', { roles: 'viewer' }, 'bad_body'],
    ['a scope with a space', { scopes: ['a b'] }, 'bad_body'],
  ]
  for (const [name, body, reason] of wrong) {
    it(`refuses ${name}`, async () => {
      const answer = await ask(body)
      assert.deepEqual([answer.status, answer.json['reason']], [400, reason])
      assert.equal(answer.text.includes('root'), false)
    })
  }
  it('are for admins alone', async () => {
    assert.equal((await at.ask(path, { method: 'POST' })).status, 401)
    const page = String((await ask()).json['access_token'])
    const answer = await ask({}, page)
    assert.deepEqual([answer.status, answer.json['reason']], [401, 'invalid_token'], 'a page token mints nothing')
  })
  it('are not minted where nothing would admit them', async () => {
    admitted = false
    const answer = await ask()
    assert.deepEqual([answer.status, answer.json['reason']], [403, 'page_tokens_off'])
  })
  it('wait for state', async () => {
    fault = new Unavailable('no keys yet')
    const answer = await ask()
    assert.deepEqual([answer.status, answer.json['reason']], [503, 'state_unavailable'])
  })
  it('are not there at all without an issuer', async () => {
    const bare = await openFixture()
    try {
      const answer = await bare.ask(path, { method: 'POST', token: await bare.login() })
      assert.deepEqual([answer.status, answer.json['reason']], [403, 'page_tokens_off'])
    } finally {
      await bare.close()
    }
  })
})
