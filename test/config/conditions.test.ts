import assert from 'node:assert/strict'
import { Conditions } from '../../src/config/conditions.ts'
import type { Condition, ConditionFacts } from '../../src/core/route.ts'

const headers = new Map([
  ['x-tier', 'gold'],
  ['user-agent', 'curl'],
])

const facts: ConditionFacts = {
  request: {
    method: 'GET',
    host: 'a.example:443',
    path: '/p?a=1&b=2&a=3',
    scheme: 'https',
    header: (name) => headers.get(name),
    headerCount: (name) => (headers.has(name) ? 1 : 0),
    headerNames: () => headers.keys(),
    peerPrincipal: '',
    peerCertificate: '',
    extension: () => undefined,
    verifiedPayload: () => undefined,
  },
  target: { method: 'GET', host: 'a.example', path: '/p', segments: ['p'], query: 'a=1&b=2&a=3', encodedSlash: false },
  principal: {
    validator: 'users',
    issuer: 'https://kc.example',
    subject: 'alice',
    rawSubject: 'alice',
    roles: ['invoke'],
    scopes: ['read:x'],
    claims: { groups: ['beta'], level: 5, flag: true, nested: { a: 1 }, nothing: null },
    issuedAt: 0,
    expiresAt: 0,
    digest: '',
    actor: { subject: 'agent' },
  },
  workload: undefined,
  params: new Map([['id', 's1']]),
  resource: new Map([['zone', 'eu']]),
  now: Date.parse('2030-01-01T00:00:00Z'),
}

const conditions = new Conditions()
function compiled(source: string): Condition {
  const condition = conditions.compile(source)
  assert.ok('holds' in condition, 'message' in condition ? condition.message : '')
  return condition
}

describe('conditions', () => {
  const values: readonly [source: string, holds: boolean][] = [
    ["principal.claims.groups.exists(g, g == 'beta') || request.method == 'POST'", true],
    ["request.headers['x-tier'] == 'gold' && 'user-agent' in request.headers", true],
    ['has(request.headers.cookie)', false],
    ['size(request.headers) == 2 && request.headers.exists(name, name == "x-tier")', true],
    ["request.host == 'a.example' && request.path == '/p'", true],
    ["request.query.a == '1,3' && request.query.b == '2'", true],
    ["request.query.a == '1'", false],
    ["params.id == 's1'", true],
    ['principal.claims.level > 3 && principal.claims.level == 5', true],
    ['principal.claims.flag == true && principal.claims.nothing == null', true],
    ["'invoke' in principal.roles && principal.scopes == ['read:x'] && principal.end_user == ''", true],
    ["principal.actor.subject == 'agent' && principal.actor.actor.subject == ''", true],
    ["workload.id == '' && workload.trust_domain == ''", true],
    ["now > timestamp('2029-12-31T23:00:00Z') && now - duration('2h') < timestamp('2029-12-31T23:00:00Z')", true],
    ["resource.zone == 'eu'", true],
    ["request.path.matches('^/p$')", true],
  ]
  for (const [source, holds] of values) it(`${source} is ${holds}`, () => assert.equal(compiled(source).holds(facts), holds))

  it('a failing evaluation throws, and is no false', () => {
    assert.throws(() => compiled("request.headers['cookie'] == 'x'").holds(facts))
    assert.throws(() => compiled('principal.claims.missing == 1').holds(facts))
    assert.throws(() => compiled('!(principal.claims.constructor == 1)').holds(facts))
  })

  it('knows which read the resource', () => {
    for (const source of [
      "resource.zone == 'eu'",
      'has(resource.zone)',
      "cel.bind(z, resource.zone, z == 'eu')",
      "['a'].exists(k, k in resource)",
    ])
      assert.equal(compiled(source).readsResource, true, source)
    for (const source of ['[1].all(resource, resource > 0)', "request.path == 'resource'", 'has(principal.claims.resource)'])
      assert.equal(compiled(source).readsResource, false, source)
  })

  const faults: readonly [source: string, offset: number, message: RegExp][] = [
    ["request.methd == 'GET'", 8, /No such key: methd/],
    ['request.method == 1', 0, /string == int/],
    ['true &&\n  nobody', 10, /Unknown variable: nobody/],
    ['request.method ==', 17, /Unexpected token/],
    ['principal.subject', 0, /expected a condition that is true or false, found one of type string/],
    ['principal.claims.flag', 0, /type dyn/],
    ["request.path.matches('(a*)*')", 21, /exponential/],
    ['request.path.matches(request.host)', 21, /expected the pattern of matches/],
    ["principal.roles.exists(r, r.matches('(a+)+'))", 36, /exponential/],
    [`${'('.repeat(200)}true${')'.repeat(200)}`, 0, /./],
  ]
  for (const [source, offset, message] of faults)
    it(`${source.slice(0, 50)} is refused`, () => {
      const fault = conditions.compile(source)
      assert.ok('message' in fault)
      assert.match(fault.message, message)
      if (source.length < 100) assert.equal(fault.offset, offset)
    })

  it('two clauses take microseconds', () => {
    const condition = compiled("principal.claims.groups.exists(g, g == 'beta') && request.headers['x-tier'] == 'gold'")
    for (let i = 0; i < 20_000; i++) condition.holds(facts)
    const begin = performance.now()
    for (let i = 0; i < 50_000; i++) condition.holds(facts)
    const each = ((performance.now() - begin) * 1000) / 50_000
    assert.ok(each < 20, `${each} µs`)
  })
})
