import assert from 'node:assert/strict'
import type { JsonObject } from '../../src/core/json.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { KeyAnswer } from '../../src/core/verification-keys.ts'
import { claimAt } from '../../src/identity/claim-path.ts'
import { oidcByEnvoy } from '../../src/identity/oidc-envoy.ts'
import { type OidcPosternOptions, oidcByPostern } from '../../src/identity/oidc-postern.ts'
import { ec, present, signToken } from './tokens.ts'

const now = 1_800_000_000_000
const good = { iss: 'https://idp.example', aud: 'edge', sub: 'alice', exp: now / 1000 + 300 }
const options: OidcPosternOptions = {
  validator: 'users',
  issuer: good.iss,
  audiences: ['edge', 'edge-old'],
  names: { subject: 'sub', roles: undefined, role: undefined, scopes: undefined, endUser: undefined },
  namespace: '',
  mayAssert: undefined,
  algorithms: ['ES256'],
  keys: { find: (): KeyAnswer => ({ kind: 'key', key: ec.publicKey }) },
}
const header = { alg: 'ES256', kid: 'ec' }

/** Asks both kinds of validator, which must agree. */
function ask(claims: object, more: Partial<OidcPosternOptions> = {}, head: object = header): Principal | string {
  const payload = JSON.parse(JSON.stringify({ ...good, ...claims })) as JsonObject
  const token = signToken(head, payload)
  const here = oidcByPostern({ ...options, ...more }).identify(present(`Bearer ${token}`, now))
  const there = oidcByEnvoy({ ...options, ...more, metadataKey: 'k', forward: true }).identify(
    present(`Bearer ${token}`, now, { k: payload }),
  )
  assert.ok(!(here instanceof Promise) && !(there instanceof Promise))
  const [one, other] = [here, there].map((verdict) => (verdict instanceof Deny ? `${verdict.reason}: ${verdict.detail}` : verdict))
  assert.deepEqual(one, other)
  return one as Principal | string
}
const who = (found: Principal | string): Principal => (typeof found === 'string' ? assert.fail(found) : found)
const refused = (found: Principal | string, detail: RegExp): void => {
  assert.match(typeof found === 'string' ? found : `admitted ${found.subject}`, /^invalid_credential: /)
  assert.match(found as string, detail)
}

describe('claims of oidc', () => {
  it('admit an audience among others, of several that may be', () => {
    for (const aud of ['edge', 'edge-old', ['edge'], ['else', 'edge-old'], ['edge', 'edge']]) who(ask({ aud }))
    for (const aud of ['Edge', 'edge ', '', [], ['else'], ['edgeX'], [['edge']], { edge: 1 }, null, 1, true, undefined])
      refused(ask({ aud }), /^invalid_credential: aud /)
    refused(ask({ aud: ['edge', 1] }), /aud is no text and no list of texts/)
  })

  describe('authorized_parties', () => {
    const authorizedParties = { claims: ['azp', 'client_id'], allowed: new Set(['console', 'cli']) }
    const rows: [object, RegExp?][] = [
      [{ azp: 'console' }],
      [{ client_id: 'cli' }],
      [{ azp: 'console', client_id: 'console' }],
      [{ azp: 'console', aud: ['edge', 'else'] }],
      [{}, /names no client \(azp, client_id\)/],
      [{ azp: 'else' }, /azp is no authorized party/],
      [{ azp: '' }, /azp is no authorized party/],
      [{ azp: ['console'] }, /azp is no authorized party/],
      [{ azp: null }, /azp is no authorized party/],
      [{ azp: 'console', client_id: 'else' }, /client_id is no authorized party/],
      [{ azp: 'else', client_id: 'console' }, /azp is no authorized party/],
    ]
    for (const [claims, detail] of rows)
      it(`${detail ? 'refuse' : 'admit'} ${JSON.stringify(claims)}`, () => {
        const found = ask(claims, { authorizedParties })
        if (detail) refused(found, detail)
        else who(found)
      })
    it('are not looked at where none are given', () => {
      who(ask({ azp: 'else', aud: ['edge', 'else'] }))
    })
  })

  it('tell access tokens from others by a claim, where it is there', () => {
    const kind = { claim: 'typ', values: ['Bearer', 'DPoP'] }
    who(ask({ typ: 'Bearer' }, { kind }))
    who(ask({}, { kind }))
    for (const typ of ['ID', 'Refresh', 'Logout', 'bearer', null, ['Bearer']]) refused(ask({ typ }, { kind }), /the claim typ says/)
  })

  it('have subjects that are SPIFFE IDs where they must be', () => {
    assert.equal(who(ask({ sub: 'spiffe://acme.example/a' }, { subjects: 'spiffe' })).subject, 'spiffe://acme.example/a')
    for (const sub of ['alice', 'spiffe://acme.example', 'spiffe://acme.example/%61', 'SPIFFE://acme.example/a'])
      refused(ask({ sub }, { subjects: 'spiffe' }), /no SPIFFE ID/)
  })

  it('come with the types of header that are accepted', () => {
    who(ask({}, { types: ['at+jwt'] }, { ...header, typ: 'application/AT+JWT' }))
    refused(ask({}, { types: ['at+jwt'] }, { ...header, typ: 'JWT' }), /typ is none of at\+jwt/)
    refused(ask({}, { types: ['at+jwt'] }), /typ is none of/)
    refused(ask({}, { types: ['jwt'] }), /typ is none of/)
    who(ask({}, { types: [undefined] }))
  })

  it('give roles, subject and scopes from where they stand', () => {
    const claims = {
      'https://acme.example/roles': ['a'],
      'kubernetes.io': { namespace: 'agents' },
      deep: { 'a/b~c': ['r'], list: [{ name: 'first' }] },
    }
    const names = (more: object) => ({ names: { ...options.names, ...more } })
    assert.deepEqual(who(ask(claims, names({ roles: 'https://acme.example/roles' }))).roles, ['a'])
    assert.deepEqual(who(ask(claims, names({ role: '/kubernetes.io/namespace' }))).roles, ['agents'])
    assert.deepEqual(who(ask(claims, names({ roles: '/deep/a~1b~0c' }))).roles, ['r'])
    assert.equal(who(ask(claims, names({ subject: '/deep/list/0/name' }))).subject, 'first')
    assert.deepEqual(who(ask(claims, names({ scopes: '/deep/a~1b~0c' }))).scopes, ['r'])
    refused(ask(claims, names({ subject: '/deep' })), /\/deep is no text/)
    refused(ask(claims, names({ subject: '/deep/list/01/name' })), /is no text/)
  })
})

describe('claimAt', () => {
  const payload: JsonObject = { a: { b: 1 }, 'a.b': 2, '': { '': 3 }, '/x': 4, list: ['p', 'q'], t: '~' }
  const rows: [string, unknown][] = [
    ['a.b', 2],
    ['/a/b', 1],
    ['/a.b', 2],
    ['//', 3],
    ['/~1x', 4],
    ['/list/1', 'q'],
    ['/list/-', undefined],
    ['/list/2', undefined],
    ['/list/length', undefined],
    ['/a/b/c', undefined],
    ['/a/toString', undefined],
    ['/__proto__', undefined],
    ['/constructor/name', undefined],
    ['__proto__.x', undefined],
    ['/t/0', undefined],
  ]
  for (const [path, value] of rows) it(`${path} is ${JSON.stringify(value)}`, () => assert.deepEqual(claimAt(payload, path), value))
})
