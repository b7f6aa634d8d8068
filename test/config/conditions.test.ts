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
    namesLike: () => [],
    peerPrincipal: '',
    peerCertificate: '',
    extension: () => undefined,
    verifiedPayload: () => undefined,
  },
  target: { method: 'GET', host: 'a.example', path: '/p', segments: ['p'], query: 'a=1&b=2&a=3', encodedSlash: false, escaped: undefined },
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
    ["request.path.matches('p')", true],
    ["request.path.matches('^p')", false],
    ["request.path.matches('/P')", false],
    ["request.path.matches('(?i)/P')", true],
    ["matches(request.path, r'^\\/p\\z')", true],
    ["'a\\nb'.matches('a.b')", false],
    ["'a\\nb'.matches('(?s)a.b')", true],
    ["'a\\nb'.matches('^b$')", false],
    ["'a\\nb'.matches('(?m)^b$')", true],
    ["'a\\n'.matches('a$')", false],
    ["'größe'.matches('^gr.{2}e$')", true],
    ["'GRÖSSE'.matches('(?i)^grösse$')", true],
    ["'größe'.matches(r'^\\pL+$')", true],
    ["'größe'.matches(r'^\\w+$')", false],
    ["'🙂'.matches('^.$')", true],
    ["'Ωμέγα'.matches(r'^\\p{Greek}+$')", true],
    ["''.matches('')", true],
    ["principal.roles.exists(r, r.matches('^in')) && !principal.roles.all(r, r.matches('^out'))", true],
    ["principal.claims.groups[0].matches('^b')", true],
    ["principal.claims.groups.filter(g, g.matches('a$')).size() == 1", true],
    ["cel.bind(p, request.path, p.matches('p'))", true],
    ["has(request.headers.cookie) && request.headers.cookie.matches('x')", false],
  ]
  for (const [source, holds] of values) it(`${source} is ${holds}`, () => assert.equal(compiled(source).holds(facts), holds))

  it('reads the path as it is when decoded, with an escape for a slash inside a segment', () => {
    const target = { ...facts.target, path: '/a/%40all%2Fx/', segments: ['a', '@all/x', ''], escaped: new Set([1]) }
    assert.ok(compiled("request.path == '/a/@all%2Fx/'").holds({ ...facts, target }))
  })

  it('and the query without the question mark that it may begin with', () => {
    const target = { ...facts.target, query: '?a=1' }
    assert.ok(compiled("!('a' in request.query) && '?a' in request.query").holds({ ...facts, target }))
  })

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
    ["request.path.matches('(?=a)')", 21, /syntax of RE2, which has no look-around and no back references: .* at \(\?=/],
    ["request.path.matches('(?<=a)b')", 21, /no look-around/],
    ["request.path.matches('(?!a)')", 21, /no look-around/],
    ["request.path.matches(r'(a)\\1')", 21, /no back references: .*\\1/],
    ["matches(request.path, '[a-')", 22, /missing closing ]/],
    ["request.path.matches('((a{100}){100}){100}')", 21, /RE2/],
    ["request.path.matches('[ab]{600}[ab]{600}')", 21, /smaller regular expression/],
    ['request.path.matches(request.host)', 21, /expected the pattern of matches/],
    ["request.path.matches('a' + 'b')", 21, /expected the pattern of matches/],
    ["request.path.matches(b'a')", 21, /expected the pattern of matches/],
    ["matches('a', request.host)", 13, /expected the pattern of matches/],
    ["principal.roles.exists(r, r.matches('(a'))", 36, /missing closing \)/],
    ["principal.roles.matches('a')", 10, /expected a text for matches\(\), found list<string>/],
    ["5.matches('a')", 0, /./],
    ["request.path.matches('a', 'b')", 0, /no matching overload/],
    [`${'('.repeat(200)}true${')'.repeat(200)}`, 0, /./],
  ]
  for (const [source, offset, message] of faults)
    it(`${source.slice(0, 50)} is refused`, () => {
      const fault = conditions.compile(source)
      assert.ok('message' in fault)
      assert.match(fault.message, message)
      if (source.length < 100) assert.equal(fault.offset, offset)
    })

  const withHeader = (value: string): ConditionFacts => ({ ...facts, request: { ...facts.request, header: () => value } })
  const hostile: readonly [pattern: string, unit: string][] = [
    ['.*curl.*beta.*', 'curl'],
    ['.*curl.*beta.*', 'curlbet'],
    ['[a-z]+[a-z]+[a-z]+x', 'a'],
    ['[a-z]+[a-z]+[a-z]+[0-9]', 'a'],
    ['(a*)*$', 'a'],
    ['(a|a)*[0-9]', 'a'],
    ['^(?:.*,)*(?:.*,)*[!?]$', 'a,'],
  ]
  for (const [pattern, unit] of hostile)
    it(`${pattern} takes bounded time on 16 KiB of ${unit}`, () => {
      const text = unit.repeat(16_384).slice(0, 16_384)
      for (const source of [
        `request.headers['x-tier'].matches('${pattern}')`,
        `principal.roles.all(r, !request.host.matches('${pattern}'))`,
      ]) {
        const condition = compiled(source)
        const long = withHeader(text)
        const begin = performance.now()
        condition.holds({ ...long, target: { ...long.target, host: text } })
        const taken = performance.now() - begin
        assert.ok(taken < 200, `${taken} ms`)
      }
    })

  it('a text that is too long for matches(), or none, throws', () => {
    const condition = compiled("!request.headers['x-tier'].matches('x')")
    assert.equal(condition.holds(withHeader('a'.repeat(16_384))), true)
    assert.throws(() => condition.holds(withHeader('a'.repeat(16_385))))
    assert.throws(() => compiled("!principal.claims.level.matches('x')").holds(facts))
    assert.throws(() => compiled("!principal.claims.nothing.matches('x')").holds(facts))
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
