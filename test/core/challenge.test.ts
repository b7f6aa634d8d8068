import assert from 'node:assert/strict'
import { challengeHeaders } from '../../src/core/challenge.ts'
import { Facts, normalized, routed } from '../../src/core/facts.ts'
import { type Challenge, deny, denyReasons, httpStatus } from '../../src/core/reasons.ts'
import type { Route } from '../../src/core/route.ts'
import { anEntry, aPolicy, aRequest } from '../support/facts.ts'

interface Sketch {
  readonly route?: Partial<Route>
  readonly params?: Readonly<Record<string, string>>
  readonly basics?: readonly string[]
  readonly resourceMetadata?: string
  readonly realm?: string
  readonly headers?: Readonly<Record<string, string>>
}

function factsOf({ route = {}, params = {}, basics = [], resourceMetadata, realm = 'postern', headers = {} }: Sketch): Facts {
  const entry = anEntry('GET /x', route)
  const denials = { detail: false, realm, resourceMetadata, proofAlgorithms: 'ES256 EdDSA' }
  const facts = new Facts(aRequest({ headers }), aPolicy([entry], { basics, denials }), 0, 'id')
  const target = { method: 'GET', host: 'a', path: '/x', segments: ['x'], query: '', encodedSlash: false, escaped: undefined }
  routed(normalized(facts, target), entry.route, new Map(Object.entries(params)), false)
  return facts
}

const asked = (sketch: Sketch = {}, reason: (typeof denyReasons)[number] = 'invalid_credential', challenge?: Challenge) =>
  Object.fromEntries(challengeHeaders(deny(reason, 'why', challenge), factsOf(sketch)))

const header = 'www-authenticate'

describe('challenges', () => {
  it('belong to every 401 and to a missing scope, and to nothing else', () => {
    for (const reason of denyReasons)
      assert.equal(header in asked({}, reason), httpStatus[reason] === 401 || reason === 'missing_scope', reason)
  })

  it('tell a client what a proof lacks, and hand it a nonce', () => {
    const lacking = asked({}, 'invalid_credential', { scheme: 'DPoP', error: 'use_dpop_nonce', nonce: 'n-1' })
    assert.deepEqual(lacking, { [header]: 'DPoP realm="postern", algs="ES256 EdDSA", error="use_dpop_nonce"', 'dpop-nonce': 'n-1' })
    const wrong = asked({}, 'invalid_credential', { scheme: 'DPoP', error: 'invalid_dpop_proof' })
    assert.deepEqual(wrong, { [header]: 'DPoP realm="postern", algs="ES256 EdDSA", error="invalid_dpop_proof"' })
  })

  it('do not offer a password instead of a proof', () => {
    const sketch = { basics: ['passwords'], route: { validators: new Set(['passwords', 'users']) } }
    assert.match(asked(sketch, 'invalid_credential', { scheme: 'DPoP', error: 'invalid_dpop_proof' })[header] ?? '', /^DPoP [^B]*$/)
  })

  it('are of DPoP where the route demands it, or the client tried it', () => {
    assert.equal(asked({ route: { binding: 'dpop' } }, 'no_credential')[header], 'DPoP realm="postern", algs="ES256 EdDSA"')
    assert.match(asked({ headers: { authorization: 'dpop abc' } })[header] ?? '', /^DPoP .*error="invalid_token"$/)
    assert.match(asked({ headers: { authorization: 'dpop abc' } }, 'missing_scope')[header] ?? '', /^DPoP .*error="insufficient_scope"$/)
    // It is the upstream's there.
    const kept = asked({ headers: { authorization: 'DPoP abc' }, route: { authorization: 'keep' } })
    assert.equal(kept[header], 'Bearer realm="postern", error="invalid_token"')
    assert.match(asked({ route: { binding: 'mtls' } })[header] ?? '', /^Bearer /)
  })

  it('are of Basic where a basic validator may identify', () => {
    const basic = 'Basic realm="postern", charset="UTF-8"'
    const basics = ['passwords']
    assert.equal(asked({ basics, route: { validators: new Set(['users', 'passwords']) } })[header], basic)
    assert.equal(asked({ basics, route: { validators: new Set(['users']) } })[header], 'Bearer realm="postern", error="invalid_token"')
    assert.equal(asked({ basics })[header], `Bearer realm="postern", error="invalid_token", ${basic}`)
    assert.equal(asked({ basics, route: { authorization: 'keep' } })[header], 'Bearer realm="postern", error="invalid_token"')
    assert.equal(asked({ basics }, 'missing_scope')[header], 'Bearer realm="postern", error="insufficient_scope"')
  })

  it('name the scopes that are demanded, filled in, and none that a header cannot hold', () => {
    const scopes = { mode: 'all', names: ['read:{id}', 'list'] } as const
    const of = (id: string, reason: (typeof denyReasons)[number] = 'missing_scope') =>
      asked({ route: { scopes }, params: { id } }, reason)[header]
    assert.equal(of('s1'), 'Bearer realm="postern", error="insufficient_scope", scope="read:s1 list"')
    assert.equal(of('s1', 'no_credential'), 'Bearer realm="postern", scope="read:s1 list"')
    for (const id of ['a"b', 'a b', 'a\\b', 'ä', 'a\r\nx: y', '']) {
      const found = of(id) ?? ''
      assert.equal(/^[ -~]*$/.test(found), true)
      assert.equal(found.includes('scope="read'), id === '', id)
    }
  })

  it('point to the metadata of the resource, and are one value that a parser can take apart', () => {
    const url = 'https://edge.example/.well-known/oauth-protected-resource'
    assert.equal(asked({ resourceMetadata: url }, 'no_credential')[header], `Bearer realm="postern", resource_metadata="${url}"`)
  })
})
