import assert from 'node:assert/strict'
import { parseSpiffeId } from '../../src/core/spiffe.ts'
import { clientCertificates } from '../../src/identity/mtls.ts'

const router = 'spiffe://cluster.local/ns/agents/sa/router'
const validator = clientCertificates({
  validator: 'router',
  trustDomain: 'cluster.local',
  roles: new Map([[router, ['sandbox:invoke', 'admin']]]),
  namespace: 'w:',
  mayAssert: new Set(['sandbox:invoke']),
})
const ask = (id: string) => {
  const workload = parseSpiffeId(id)
  assert.ok(workload, id)
  return validator.identify(workload, 0)
}

describe('mtls', () => {
  it('identifies a workload of the trust domain with its roles', () => {
    const verdict = ask(router)
    assert.ok(typeof verdict === 'object' && 'subject' in verdict)
    const { digest, ...principal } = verdict
    assert.match(digest, /^[0-9a-f]{64}$/)
    assert.deepEqual(principal, {
      validator: 'router',
      issuer: 'spiffe://cluster.local',
      subject: `w:${router}`,
      rawSubject: router,
      roles: ['sandbox:invoke'],
      scopes: [],
      claims: {},
      issuedAt: 0,
      expiresAt: Number.POSITIVE_INFINITY,
    })
  })
  it('identifies one without mapped roles, with none', () => {
    const verdict = ask('spiffe://cluster.local/ns/agents/sa/other')
    assert.ok(typeof verdict === 'object' && 'roles' in verdict)
    assert.deepEqual(verdict.roles, [])
  })
  for (const id of [
    'spiffe://other.local/ns/agents/sa/router',
    'spiffe://cluster.local.evil/ns/agents/sa/router',
    'spiffe://cluster.local/ns/agents',
    'spiffe://cluster.local/ns/agents/sa/router/x',
    'spiffe://cluster.local/x/ns/agents/sa/router',
    'spiffe://cluster.local/agent/o/t/1',
  ]) {
    it(`abstains from ${id}`, () => assert.equal(ask(id), 'abstain'))
  }
})
