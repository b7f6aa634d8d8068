import assert from 'node:assert/strict'
import { access, Caller, callerFrom, callerOf, isWrite, Refusal, tenantRefusal } from '../../src/core/access.ts'
import { Facts, identified, normalized, routed } from '../../src/core/facts.ts'
import { metadataObject, metadataOf } from '../../src/core/metadata.ts'
import { marks, ownerLabelValue } from '../../src/core/ownership.ts'
import type { OwnershipRules } from '../../src/core/policy.ts'
import { anEntry, aPolicy, aPrincipal, aRequest, noSharing } from '../support/facts.ts'

const label = 'agentcube.io/owner'
const shared = 'agentcube.io/shared-with'
const need = { source: undefined, removes: false }
const over = (rules: Partial<OwnershipRules>) => aPolicy([], { ownership: { ...noSharing, shared, ...rules } })

describe('access to a resource', () => {
  const ask = (
    policy: ReturnType<typeof aPolicy>,
    who: Parameters<typeof aPrincipal>[0],
    labels: object,
    write = false,
    removes = false,
  ) => {
    const found = access(policy, callerOf(aPrincipal(who), policy.ownership), new Map(Object.entries(labels)), { ...need, removes }, write)
    return found instanceof Refusal ? found.detail : found
  }

  it('is the owner’s, by the same rule as the label is written', () => {
    for (const subject of ['alice', 'auth0|0123', 'sha256-abc', 'spiffe://cluster.local/ns/a/sa/b'])
      assert.equal(ask(over({}), { subject }, { [label]: ownerLabelValue(subject) }), 'owner')
    assert.equal(ask(over({}), { subject: 'sha256-abc' }, { [label]: 'sha256-abc' }), 'the owner is somebody else')
    assert.equal(ask(over({}), { subject: 'auth0|0123' }, { [label]: 'auth0|0123' }), 'the owner is somebody else')
  })

  it('is nobody else’s where nothing is shared in the policy', () => {
    assert.equal(ask(over({}), { subject: 'bob' }, { [label]: 'alice', [shared]: 'bob' }), 'shared')
    assert.equal(ask(over({ shared: undefined }), { subject: 'bob' }, { [label]: 'alice', [shared]: 'bob' }), 'the owner is somebody else')
  })

  it('ends with the mark of a removal or of an orphan, whatever else the record says', () => {
    for (const extra of [{}, { 'annotation:agentcube.io/owner': 'alice' }, { tier: 'gold' }]) {
      assert.match(ask(over({}), {}, { [label]: 'alice', [marks.deleting]: 'x 1', ...extra }), /being removed/)
      assert.match(ask(over({}), {}, { [label]: 'alice', [marks.orphan]: 'x 1', ...extra }, true, true), /awaits an owner/)
      assert.equal(ask(over({}), {}, { [label]: 'alice', [marks.deleting]: 'x 1', ...extra }, true, true), 'owner')
    }
    assert.equal(ask(over({}), {}, { [label]: 'alice', [marks.source]: 'kubernetes:a/b' }), 'owner')
  })

  it('is refused without an owner, also of what is shared', () => {
    assert.equal(ask(over({}), { subject: 'bob' }, { [shared]: 'bob' }), 'the resource has no owner')
    assert.equal(ask(over({}), { subject: 'bob' }, { [label]: '', [shared]: 'bob' }), 'the resource has no owner')
    const policy = over({})
    const unknown = access(policy, callerOf(aPrincipal(), policy.ownership), undefined, need, false)
    assert.ok(unknown instanceof Refusal && unknown.detail === 'the resource is unknown')
  })

  it('follows another policy at once: a caller is kept for one', () => {
    const principal = aPrincipal({ claims: { groups: ['a'], teams: ['b'] } })
    const one = over({})
    const other = over({ groupsClaim: 'teams' })
    assert.deepEqual(callerOf(principal, one.ownership).facts.groups, ['a'])
    assert.deepEqual(callerOf(principal, other.ownership).facts.groups, ['b'])
    assert.equal(callerOf(principal, other.ownership), callerOf(principal, other.ownership))
  })

  it('keeps what was shared with the labels that said so', () => {
    const policy = over({})
    const bob = callerOf(aPrincipal({ subject: 'bob' }), policy.ownership)
    const before = new Map([
      [label, 'alice'],
      [shared, 'bob'],
    ])
    assert.equal(access(policy, bob, before, need, false), 'shared')
    assert.ok(access(policy, bob, new Map(before).set(shared, 'carol'), need, false) instanceof Refusal)
  })

  it('of a source is its validator’s raw subject’s, and never shared', () => {
    const policy = { ...over({}), subjectsOf: new Map([['agentcube', 'users']]) }
    const from = { source: 'agentcube', removes: false }
    const labels = new Map([
      [label, 'alice'],
      [shared, 'bob'],
    ])
    const asked = (who: Parameters<typeof aPrincipal>[0]) =>
      access(policy, callerOf(aPrincipal(who), policy.ownership), labels, from, false)
    assert.equal(asked({ subject: 'x:alice', rawSubject: 'alice' }), 'owner')
    assert.ok(asked({ validator: 'others' }) instanceof Refusal)
    assert.ok(asked({ subject: 'bob', rawSubject: 'bob' }) instanceof Refusal)
  })

  it('needs the right to write for every method but GET, HEAD and OPTIONS', () => {
    assert.deepEqual(['GET', 'HEAD', 'OPTIONS'].map(isWrite), [false, false, false])
    assert.deepEqual(['POST', 'DELETE', 'PROPFIND', 'get', ''].map(isWrite), [true, true, true, true, true])
  })

  it('ends at the tenant for those who bypass owners too', () => {
    const policy = over({ tenant: { label: 'tenant', claim: 'tenant', bypass: new Set(['root']) } })
    const who = (over: Parameters<typeof aPrincipal>[0]) => callerOf(aPrincipal(over), policy.ownership)
    const labels = new Map([['tenant', 't1']])
    assert.equal(tenantRefusal(policy.ownership, who({ claims: { tenant: 't1' } }), labels), undefined)
    assert.equal(tenantRefusal(policy.ownership, who({ roles: ['root'] }), undefined), undefined)
    for (const claims of [{}, { tenant: 't2' }, { tenant: '' }, { tenant: ['t1'] }])
      assert.ok(tenantRefusal(policy.ownership, who({ claims }), labels) instanceof Refusal)
    // What has no UTF-8 has no hash of its own.
    const odd = new Map([['tenant', ownerLabelValue('x\ud801')]])
    for (const tenant of ['x\ud800', 'x\ud801'])
      assert.ok(tenantRefusal(policy.ownership, who({ claims: { tenant } }), odd) instanceof Refusal)
    assert.deepEqual(who({ claims: { groups: ['a', 'x\ud800'] } }).facts.groups, [])
    assert.ok(tenantRefusal(policy.ownership, who({ claims: { tenant: 't1' } }), undefined) instanceof Refusal)
  })
})

describe('a caller, told by metadata', () => {
  const rules: OwnershipRules = {
    ...noSharing,
    shared,
    tenant: { label: 'tenant', claim: 'tenant', bypass: new Set() },
    namespaces: new Map([
      ['users', ''],
      ['partners', 'partner:'],
    ]),
  }
  const list = { list: { resource: 's', source: undefined, bypass: new Set<string>(), filter: undefined } }
  const filter = { items: [], id: [], idPattern: /./, maxItems: 1, maxBody: 1 }
  const toldBy = (who: Parameters<typeof aPrincipal>[0]) => {
    const entry = anEntry('GET /x', { list: { ...list.list, filter } })
    const facts = new Facts(aRequest(), aPolicy([entry], { ownership: rules }), 0, 'id')
    const target = { method: 'GET', host: '', path: '/x', segments: [], query: '', encodedSlash: false, escaped: undefined }
    identified(routed(normalized(facts, target), entry.route, new Map(), false), aPrincipal(who))
    return metadataObject(metadataOf(facts, 'ok', true, 1))
  }

  for (const who of [
    {},
    { subject: 'é, b%c', rawSubject: 'é, b%c', roles: ['a,b', 'c d', 'e%2C'], claims: { groups: ['g,1', '%', ''], tenant: 'Acme, Corp' } },
    { subject: 'partner:bob', rawSubject: 'bob', validator: 'partners', claims: { tenant: 't1' } },
  ])
    it(`is who asked: ${JSON.stringify(who)}`, () => {
      const asked = callerOf(aPrincipal(who), rules)
      const told = callerFrom(toldBy(who), rules)
      assert.ok(told instanceof Caller)
      assert.deepEqual({ ...told.facts }, { ...asked.facts })
      assert.equal(told.owner, asked.owner)
    })

  it('is nobody where it is nothing that was told', () => {
    const good = toldBy({})
    assert.ok(callerFrom(good, rules))
    for (const broken of [
      { subject: '' },
      { subject: '%zz' },
      { subject: 7 },
      { validator: 'strangers' },
      { validator: 'partners' },
      { roles: ['a'] },
      { groups: '%' },
      { tenant: 7 },
    ])
      assert.equal(callerFrom({ ...good, ...broken }, rules), undefined, JSON.stringify(broken))
    for (const name of ['subject', 'validator']) {
      const { [name]: _, ...rest } = good
      assert.equal(callerFrom(rest, rules), undefined)
    }
  })
})
