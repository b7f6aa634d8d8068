import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { type ClientEntry, clientsOf, readKeys } from '../../../src/issuer/grants/clients.ts'

const entry = (authentication: ClientEntry['authentication']): ClientEntry => ({
  id: 'sdk',
  authentication,
  grants: ['client_credentials'],
  roles: [],
  scopes: [],
  audiences: ['postern'],
  ttl: 300,
  introspects: true,
  exchange: undefined,
})
const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'a' }
const set = (...keys: object[]): string => JSON.stringify({ keys })

describe('clients of the policy', () => {
  it('are found by their ids', () => {
    const clients = clientsOf([entry({ kind: 'secret', secret: () => 's' })])
    assert.equal(clients.get('sdk')?.id, 'sdk')
    assert.equal(clients.get('SDK'), undefined)
    assert.equal(clients.get('__proto__'), undefined)
  })

  it('have their secret read anew for each comparison', () => {
    let secret = 'the old secret'
    const { authentication } = clientsOf([entry({ kind: 'secret', secret: () => secret })]).get('sdk')!
    assert.ok(authentication.kind === 'secret')
    assert.deepEqual(['the old secret', 'the old secre', '', 'the new secret'].map(authentication.matches), [true, false, false, false])
    secret = 'the new secret'
    assert.deepEqual(['the old secret', 'the new secret'].map(authentication.matches), [false, true])
  })

  it('have the keys of their file, the last good ones while it is broken', () => {
    let text = set(jwk)
    const { authentication } = clientsOf([entry({ kind: 'private_key_jwt', jwks: () => text })]).get('sdk')!
    assert.ok(authentication.kind === 'private_key_jwt')
    const kids = () => authentication.jwks().keys.map((key) => key['kid'])
    assert.deepEqual(kids(), ['a'])
    assert.equal(authentication.jwks().keys, authentication.jwks().keys)
    for (const broken of ['', '{"keys":', '[]', '{"keys":{}}', set()]) {
      text = broken
      assert.deepEqual(kids(), ['a'], broken)
    }
    text = set({ ...jwk, kid: 'b' }, { ...jwk, kid: 'c' })
    assert.deepEqual(kids(), ['b', 'c'])
  })

  it('have no key that is private, symmetric, for encryption or broken', () => {
    const bad = [
      privateKey.export({ format: 'jwk' }),
      { kty: 'oct', k: 'AAAA' },
      { ...jwk, use: 'enc' },
      { ...jwk, x: 'AAAA' },
      { kty: 'X' },
      7,
    ]
    assert.deepEqual(readKeys(set(...(bad as object[]), jwk)), [jwk])
    assert.equal(readKeys(set(...(bad as object[]))), undefined)
  })
})
