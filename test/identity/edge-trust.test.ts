import assert from 'node:assert/strict'
import type { Edge } from '../../src/core/edge.ts'
import type { Workload } from '../../src/core/principal.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { Verdict } from '../../src/core/validator.ts'
import { type EdgeTrustOptions, edgeClaims } from '../../src/identity/edge-trust.ts'
import { aRequest } from '../support/facts.ts'

const edgeWorkload: Workload = { id: 'spiffe://cluster.local/ns/edge/sa/gateway', trustDomain: 'cluster.local' }
const other: Workload = { id: 'spiffe://cluster.local/ns/agents/sa/router', trustDomain: 'cluster.local' }
const edge: Edge = { name: 'istio', headers: [], trusts: (_, workload) => workload?.id === edgeWorkload.id }

const open = (over: Partial<EdgeTrustOptions> = {}) => {
  const validator = edgeClaims({
    validator: 'istio',
    edge,
    headers: { subject: 'X-User-Id', role: 'x-user-roles', end_user: 'x-user-id', email: 'x-user-email' },
    claims: { 'X-User-Groups': 'groups' },
    namespace: 'edge:',
    mayAssert: undefined,
    ...over,
  })
  return (headers: Readonly<Record<string, string | readonly string[]>>, workload: Workload | undefined = edgeWorkload): Verdict =>
    validator.identify(aRequest({ headers }), workload, 0)
}
const reasonOf = (verdict: Verdict): string => (verdict instanceof Deny ? verdict.reason : verdict === 'abstain' ? verdict : 'identified')
const principalOf = (verdict: Verdict) => {
  assert.ok(typeof verdict === 'object' && !(verdict instanceof Deny), JSON.stringify(verdict))
  return verdict
}
const list = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('edge-trust', () => {
  it('identifies by the headers of the edge', () => {
    const ask = open()
    const headers = { 'x-user-id': 'alice', 'x-user-roles': 'viewer', 'x-user-email': 'a@x.example', 'x-user-groups': list(['a', 'b']) }
    const verdict = principalOf(ask(headers))
    const { digest, ...principal } = verdict
    assert.match(digest, /^[0-9a-f]{64}$/)
    assert.deepEqual(principal, {
      validator: 'istio',
      issuer: 'urn:postern:edge-trust:istio',
      subject: 'edge:alice',
      rawSubject: 'alice',
      roles: ['viewer'],
      scopes: [],
      claims: { email: 'a@x.example', groups: ['a', 'b'] },
      issuedAt: 0,
      expiresAt: Number.POSITIVE_INFINITY,
    })
    assert.equal(ask(headers), verdict, 'and does not read them twice')
    assert.notEqual(principalOf(ask({ ...headers, 'x-user-roles': 'admin' })).digest, digest)
  })
  it('reads long headers each time, so that what is remembered stays small', () => {
    const ask = open()
    const headers = { 'x-user-id': 'alice', 'x-user-groups': 'g'.repeat(10_000) }
    assert.notEqual(ask(headers), ask(headers))
    assert.deepEqual(ask(headers), ask(headers))
  })
  it('says nothing of what another workload sends, nor of nobody', () => {
    const ask = open()
    assert.equal(reasonOf(ask({ 'x-user-id': 'alice' }, other)), 'abstain')
    assert.equal(ask({ 'x-user-id': 'alice' }), ask({ 'x-user-id': 'alice' }))
    assert.equal(reasonOf(ask({ 'x-user-id': 'alice' }, other)), 'abstain', 'also after the edge said the same')
    const nobody = edgeClaims({
      validator: 'istio',
      edge,
      headers: { subject: 'x-user-id', role: 'r', end_user: 'e', email: 'm' },
      claims: {},
      namespace: '',
      mayAssert: undefined,
    })
    assert.equal(nobody.identify(aRequest({ headers: { 'x-user-id': 'alice' } }), undefined, 0), 'abstain')
  })
  it('says nothing where the edge names nobody', () => assert.equal(reasonOf(open()({ 'x-user-roles': 'viewer' })), 'abstain'))

  const roles: readonly (readonly [header: string, roles: readonly string[]])[] = [
    ['viewer', ['viewer']],
    ['viewer,editor', ['viewer', 'editor']],
    ['viewer, editor,,viewer', ['viewer', 'editor']],
    ['  viewer ,\u00a0admin,admin\u3000', ['viewer', '\u00a0admin', 'admin\u3000']],
    [list(['viewer', 'editor']), ['viewer', 'editor']],
    [list(['a,b']), ['a,b']],
    [list([]), []],
    [list(['viewer', 7, null, '']), ['viewer']],
    [list({ role: 'admin' }), [list({ role: 'admin' })]],
    [list('admin'), [list('admin')]],
    [Buffer.from('["a/b?>","ÿ"]').toString('base64'), ['a/b?>', 'ÿ']],
    [`${list(['admin'])}=`, [`${list(['admin'])}=`]],
    [`${list(['viewer'])}==`, ['viewer']],
    [`${list(['viewer']).slice(0, -1)}R`, [`${list(['viewer']).slice(0, -1)}R`]],
    ['W', ['W']],
    ['', []],
  ]
  for (const [header, expected] of roles) {
    it(`reads the roles of ${JSON.stringify(header)}`, () => {
      assert.deepEqual(principalOf(open()({ 'x-user-id': 'a', 'x-user-roles': header })).roles, expected)
    })
  }
  it('gives no role that it may not assert', () => {
    const ask = open({ mayAssert: new Set(['viewer']) })
    assert.deepEqual(principalOf(ask({ 'x-user-id': 'a', 'x-user-roles': 'viewer,admin' })).roles, ['viewer'])
  })
  it('names the end user where another header does', () => {
    const ask = open({ headers: { subject: 'x-client', role: 'r', end_user: 'x-end', email: 'm' } })
    assert.equal(principalOf(ask({ 'x-client': 'app', 'x-end': 'jane' })).endUser, 'jane')
    assert.equal(principalOf(ask({ 'x-client': 'app', 'x-end': 'app' })).endUser, undefined)
    assert.equal(reasonOf(ask({ 'x-client': 'app', 'x-end': 'a,b' })), 'invalid_credential')
  })
  it('keeps a claim with a comma as one text, and a claim of any name to itself', () => {
    const ask = open({ claims: { 'x-name': 'name', 'x-proto': '__proto__' } })
    const { claims } = principalOf(ask({ 'x-user-id': 'a', 'x-name': 'Doe, Jane', 'x-proto': 'p' }))
    assert.equal(claims['name'], 'Doe, Jane')
    assert.ok(Object.hasOwn(claims, '__proto__'))
  })

  const unclear: readonly (readonly [name: string, headers: Readonly<Record<string, string | readonly string[]>>])[] = [
    ['two subjects', { 'x-user-id': ['alice', 'bob'] }],
    ['the same subject twice', { 'x-user-id': ['alice', 'alice'] }],
    ['two subjects in one field', { 'x-user-id': 'alice,bob' }],
    ['an empty subject', { 'x-user-id': '' }],
    ['too long a subject', { 'x-user-id': 'x'.repeat(1025) }],
    ['control characters', { 'x-user-id': 'a\u0000' }],
    ['bytes that were no UTF-8', { 'x-user-id': 'a\ufffd' }],
    ['a lone surrogate', { 'x-user-id': 'a\ud800' }],
    ['roles twice', { 'x-user-id': 'a', 'x-user-roles': ['viewer', 'admin'] }],
    ['roles that are no text', { 'x-user-id': 'a', 'x-user-roles': 'view\u0007er' }],
    ['two addresses', { 'x-user-id': 'a', 'x-user-email': 'a@x,b@x' }],
    ['a claim twice', { 'x-user-id': 'a', 'x-user-groups': ['a', 'b'] }],
  ]
  for (const [name, headers] of unclear) {
    it(`refuses ${name}`, () => assert.equal(reasonOf(open()(headers)), 'invalid_credential'))
  }

  describe('by the certificate that the edge saw', () => {
    const ask = open({ headers: { subject: 'X-Forwarded-Client-Cert', role: 'r', end_user: 'e', email: 'm' }, claims: {} })
    const router = 'spiffe://cluster.local/ns/agents/sa/router'
    it('identifies the last one', () => {
      assert.equal(
        principalOf(ask({ 'x-forwarded-client-cert': `Hash=1;URI=spiffe://a/b,Hash=2;URI=${router}` })).subject,
        `edge:${router}`,
      )
    })
    it('abstains from a client without one', () => {
      assert.equal(reasonOf(ask({})), 'abstain')
      assert.equal(reasonOf(ask({ 'x-forwarded-client-cert': 'Hash=1;URI=' })), 'abstain')
    })
    it('refuses what names nobody clearly', () => {
      for (const header of [`URI=${router};URI=${router}`, 'URI=https://x.example/', 'Hash', `URI=spiffe://cluster.local/a%2fb`])
        assert.equal(reasonOf(ask({ 'x-forwarded-client-cert': header })), 'invalid_credential', header)
    })
    it('refuses the edge itself, which an Envoy with APPEND_FORWARD would make of everybody', () => {
      const appended = { 'x-forwarded-client-cert': `Hash=1;URI=${router},Hash=2;URI=${edgeWorkload.id}` }
      for (let i = 0; i < 2; i++) assert.equal(reasonOf(ask(appended)), 'invalid_credential')
    })
    it('believes nobody else', () => assert.equal(reasonOf(ask({ 'x-forwarded-client-cert': `URI=${router}` }, other)), 'abstain'))
  })
})
