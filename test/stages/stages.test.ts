import assert from 'node:assert/strict'
import type { Stage } from '../../src/check/stage.ts'
import { BearerToken } from '../../src/core/bearer-token.ts'
import { Facts, identified, notRevoked, type Received, type Routed } from '../../src/core/facts.ts'
import { ownerLabelValue } from '../../src/core/ownership.ts'
import { type OwnerLookup, type Soon, type TokenAnswer, Unavailable } from '../../src/core/ports.ts'
import type { Principal } from '../../src/core/principal.ts'
import { Deny, deny } from '../../src/core/reasons.ts'
import { closeRoles, demandRoles } from '../../src/core/roles.ts'
import type { OwnerDemand, Route } from '../../src/core/route.ts'
import { parseSpiffeId } from '../../src/core/spiffe.ts'
import type { BearerValidator, CertificateValidator, Verdict } from '../../src/core/validator.ts'
import { authorize, conditionFailure } from '../../src/stages/authorize.ts'
import { exchange } from '../../src/stages/exchange.ts'
import { identify, type Rejection } from '../../src/stages/identify.ts'
import { normalize } from '../../src/stages/normalize.ts'
import { own } from '../../src/stages/own.ts'
import { route } from '../../src/stages/route.ts'
import { anEntry, aPolicy, aPrincipal, aRequest, type RequestParts } from '../support/facts.ts'

const policy = aPolicy(
  [
    anEntry('GET,POST /a/{id}', { id: 'a' }),
    anEntry('GET /pkg/{package}', { id: 'pkg', encodedSlash: true }),
    anEntry('GET /pkg/{package}/files/**', { id: 'files', encodedSlash: true }),
    anEntry('GET /healthz', { id: 'health', public: true }),
  ],
  { metadataKeys: ['users'] },
)

const unproved = () => deny('invalid_credential', 'no proof is known here')
const start = (parts: RequestParts, p = policy): Facts => new Facts(aRequest(parts), p, 1_700_000_000_000, 'id-1')
const outcome = (step: Soon<unknown>): string => {
  assert.ok(!(step instanceof Promise))
  return step instanceof Deny ? step.reason : 'ok'
}

/** normalize, then route. */
function toRoute(parts: RequestParts, p = policy): string {
  const state = start(parts, p)
  const target = normalize.run(state)
  if (target instanceof Deny) return target.reason
  const found = route.run(target as Parameters<typeof route.run>[0])
  return found instanceof Deny ? found.reason : `${(found as Routed).route.id}${(found as Routed).open ? ' open' : ''}`
}

/** A state as it is when `stage` begins, on a route with these demands. */
function stateBefore<S extends Received>(
  _stage: Stage<S, unknown>,
  over: Partial<Route>,
  parts: RequestParts = {},
  who: Partial<Principal> = {},
  p = policy,
): S {
  const state = start({ path: '/a/s1', ...parts }, { ...p, routes: aPolicy([anEntry('GET,POST /a/{id}', { id: 'a', ...over })]).routes })
  const target = normalize.run(state)
  assert.ok(!(target instanceof Deny) && !(target instanceof Promise))
  const routed = route.run(target)
  assert.ok(!(routed instanceof Deny) && !(routed instanceof Promise))
  notRevoked(identified(routed, aPrincipal(who)))
  return routed as unknown as S
}

describe('normalize', () => {
  const cases: readonly [string, RequestParts, string][] = [
    ['two Authorization fields', { headers: { authorization: ['Bearer a', 'Bearer b'] } }, 'bad_request'],
    ['two joined with a comma', { headers: { authorization: 'Bearer a,Bearer b' } }, 'bad_request'],
    ['two joined with a comma and a space', { headers: { authorization: 'Bearer a, Basic b' } }, 'bad_request'],
    ['a bare word after a comma', { headers: { authorization: 'Bearer a,b' } }, 'bad_request'],
    ['a parameter behind a Bearer token', { headers: { authorization: 'Bearer a,b=c' } }, 'bad_request'],
    ['one Authorization with parameters', { path: '/a/1', headers: { authorization: 'Digest username="x", nonce=abc' } }, 'a'],
    ['two Hosts', { host: 'a.example,b.example' }, 'bad_request'],
    ['two Host fields', { headers: { host: ['a', 'b'] } }, 'bad_request'],
    ['a host with a space', { host: 'a b' }, 'bad_request'],
    ['a host with user info', { host: 'u@a.example' }, 'bad_request'],
    ['a host in upper case with port', { path: '/a/1', host: 'AGENTS.example:8443' }, 'a'],
    ['a host with a letter that lower-casing makes an ASCII one', { path: '/a/1', host: 'agents.\u212aube' }, 'bad_request'],
    ['a host that still ends in a dot', { path: '/a/1', host: 'agents.example.' }, 'bad_request'],
    ['an IPv6 host', { path: '/a/1', host: '[::1]:8443' }, 'a'],
    ['a method that is no token', { method: 'GE T' }, 'bad_request'],
    ['a token in the query, in a spelling that Envoy does not strip', { path: '/a/1?%61ccess_token=x' }, 'bad_request'],
    ['a token in the query', { path: '/a/1?access_token=x' }, 'a'],
    ['no path', { path: '' }, 'bad_request'],
  ]
  for (const [name, parts, found] of cases) it(`${name}: ${found}`, () => assert.equal(toRoute(parts), found))
})

describe('route', () => {
  const preflight = { method: 'OPTIONS', path: '/a/1', headers: { origin: 'https://x.example', 'access-control-request-method': 'POST' } }
  const open = aPolicy([anEntry('GET,POST /a/{id}', { id: 'a' })], { preflight: 'allow' })
  const cases: readonly [string, RequestParts, string, typeof policy?][] = [
    ['nothing there', { path: '/b' }, 'no_route'],
    ['a method that is not listed', { path: '/a/1', method: 'PUT' }, 'no_route'],
    ['HEAD is not GET', { path: '/a/1', method: 'HEAD' }, 'no_route'],
    ['OPTIONS needs a route', { path: '/a/1', method: 'OPTIONS' }, 'no_route'],
    ['TRACE', { path: '/a/1', method: 'TRACE' }, 'no_route'],
    ['CONNECT', { path: '/a/1', method: 'CONNECT' }, 'no_route'],
    ['public', { path: '/healthz' }, 'health open'],
    ['an encoded slash where none may be', { path: '/a/x%2fy' }, 'bad_request'],
    ['an encoded slash on no route', { path: '/b/x%2fy' }, 'bad_request'],
    ['an encoded slash in a parameter', { path: '/pkg/@scope%2fname' }, 'pkg'],
    ['an encoded slash in a wildcard', { path: '/pkg/x/files/a%2fb' }, 'bad_request'],
    ['our realm', { path: '/a/1', extensions: { realm: 'default' } }, 'a'],
    ['another realm', { path: '/a/1', extensions: { realm: 'other' } }, 'no_route'],
    ['a preflight, refused', preflight, 'no_route'],
    ['a preflight, allowed', preflight, 'a open', open],
    [
      'a preflight for a method without a route',
      { ...preflight, headers: { ...preflight.headers, 'access-control-request-method': 'PUT' } },
      'no_route',
      open,
    ],
    ['a preflight without Origin', { ...preflight, headers: { 'access-control-request-method': 'POST' } }, 'no_route', open],
    ['a plain OPTIONS', { method: 'OPTIONS', path: '/a/1' }, 'no_route', open],
    ['a preflight on an unknown path', { ...preflight, path: '/zzz' }, 'no_route', open],
  ]
  for (const [name, parts, found, p] of cases) it(`${name}: ${found}`, () => assert.equal(toRoute(parts, p), found))
})

describe('identify', () => {
  const validator = (name: string, verdict: Verdict | Promise<Verdict>): BearerValidator => ({
    name,
    presents: 'bearer',
    identify: () => verdict,
  })
  const cert: CertificateValidator = {
    name: 'router',
    presents: 'certificate',
    identify: (w) => aPrincipal({ validator: 'router', subject: w.id }),
  }
  const who = (name: string): Principal => aPrincipal({ validator: name, subject: name })
  const no = deny('invalid_credential', 'no')
  const expired = deny('expired_credential', 'old')
  const bearer = { headers: { authorization: 'Bearer abc' } }
  const router = { peerPrincipal: 'spiffe://cluster.local/ns/agents/sa/router' }

  async function run(
    validators: readonly (BearerValidator | CertificateValidator)[],
    parts: RequestParts,
    over: Partial<Route> = {},
    keys: string[] = [],
  ): Promise<string> {
    const rejections: Rejection[] = []
    const stage = identify({
      validators,
      peer: (s) => parseSpiffeId(s.request.peerPrincipal),
      prove: unproved,
      onRejection: (r) => rejections.push(r),
    })
    const state = stateBefore(stage, over, parts, {}, { ...policy, metadataKeys: keys })
    ;(state as unknown as Facts).principal = undefined
    const step = await stage.run(state)
    const facts = state as unknown as Facts
    return [
      step instanceof Deny ? step.reason : step.principal.validator,
      ...rejections.map((r) => `-${r.validator || 'nobody'}`),
      facts.workload ? 'w' : '',
    ]
      .join(' ')
      .trim()
  }
  const cases: readonly [string, readonly (BearerValidator | CertificateValidator)[], RequestParts, string, Partial<Route>?, string[]?][] =
    [
      ['no validator', [], bearer, 'no_validator_admitted -nobody'],
      ['nothing presented', [validator('one', who('one'))], {}, 'no_credential'],
      [
        'the first that identifies',
        [validator('one', 'abstain'), validator('two', who('two')), validator('three', who('three'))],
        bearer,
        'two',
      ],
      ['all abstain', [validator('one', 'abstain')], bearer, 'no_validator_admitted -nobody'],
      ['the first rejection is the reason', [validator('one', expired), validator('two', no)], bearer, 'expired_credential -one -two'],
      ['a rejection does not stop the chain', [validator('one', no), validator('two', who('two'))], bearer, 'two -one'],
      ['nor does one that waits', [validator('one', Promise.resolve(no)), validator('two', who('two'))], bearer, 'two -one'],
      [
        'the first rejection stays first over a wait',
        [validator('one', expired), validator('two', Promise.resolve(no))],
        bearer,
        'expired_credential -one -two',
      ],
      ['the certificate identifies where nothing is presented', [validator('one', no), cert], router, 'router w'],
      ['a certificate never replaces a credential', [validator('one', no), cert], { ...bearer, ...router }, 'invalid_credential -one w'],
      ['nor one that nobody admits', [validator('one', 'abstain'), cert], { ...bearer, ...router }, 'no_validator_admitted -nobody w'],
      [
        'an empty Authorization is a presented one',
        [cert],
        { headers: { authorization: '' }, ...router },
        'no_validator_admitted -nobody w',
      ],
      ['the workload stands beside the principal', [validator('one', who('one')), cert], { ...bearer, ...router }, 'one w'],
      [
        'a route narrows the chain',
        [validator('one', who('one')), validator('two', who('two'))],
        bearer,
        'two',
        { validators: new Set(['two']) },
      ],
      ['and leaves the certificate out', [cert], router, 'no_credential w', { validators: new Set(['one']) }],
      [
        'authorization: keep is no credential',
        [validator('one', who('one')), cert],
        { ...bearer, ...router },
        'router w',
        { authorization: 'keep' },
      ],
      ['a verified payload is a credential', [validator('one', who('one'))], { verified: { users: { sub: 'a' } } }, 'one', {}, ['users']],
      [
        'two equal payloads are one',
        [validator('one', who('one'))],
        { verified: { a: { sub: 'a' }, b: { sub: 'a' } } },
        'one',
        {},
        ['a', 'b'],
      ],
      [
        'two that differ conflict',
        [validator('one', who('one'))],
        { verified: { a: { sub: 'a' }, b: { sub: 'b' } } },
        'conflicting_credentials -nobody',
        {},
        ['a', 'b'],
      ],
      [
        'a token in the query that Envoy verified',
        [validator('one', who('one'))],
        { path: '/a/s1?access_token=x', verified: { users: { sub: 'a' } } },
        'one',
        {},
        ['users'],
      ],
      [
        'and another one beside it is one too many',
        [validator('one', who('one'))],
        { ...bearer, verified: { users: { sub: 'a' } } },
        'conflicting_credentials -one',
        {},
        ['users'],
      ],
      [
        'a payload under a key that nobody named is nothing',
        [validator('one', who('one'))],
        { verified: { z: { sub: 'a' } } },
        'no_credential',
        {},
        ['users'],
      ],
    ]
  for (const [name, validators, parts, found, over, keys] of cases) {
    it(name, async () => assert.equal(await run(validators, parts, over, keys), found))
  }

  it('rejects a subject that is spelled as those of another validator', async () => {
    const open = (subject: string): BearerValidator => ({ ...validator('open', aPrincipal({ validator: 'open', subject })), subjects: '' })
    const agents = { ...validator('agents', 'abstain'), subjects: 'agent:' }
    const routers = { ...cert, subjects: 'spiffe://cluster.local/' }
    const chain = (subject: string) => run([open(subject), agents, routers], bearer)
    assert.equal(await chain('agent:x'), 'invalid_credential -open')
    assert.equal(await chain('spiffe://cluster.local/ns/agents/sa/router'), 'invalid_credential -open')
    assert.equal(await chain('agent'), 'open')
    const own = { ...agents, identify: () => aPrincipal({ validator: 'agents', subject: 'agent:x' }) }
    assert.equal(await run([own, open('a')], bearer), 'agents')
  })

  it('shows what stands elsewhere to those who look there, and beside what Envoy verified to those who go by its word', async () => {
    const places = { headers: ['x-session'], cookies: [], query: false, websocket: false }
    const shown: string[] = []
    const seeing = (name: string, over: Partial<BearerValidator>): BearerValidator => ({
      ...validator(name, 'abstain'),
      ...over,
      identify: () => {
        shown.push(name)
        return 'abstain'
      },
    })
    const chain = [
      seeing('envoy', { trustsEnvoy: true, from: new Set(['authorization']) }),
      seeing('postern', { from: new Set(['authorization']) }),
      seeing('session', { from: new Set(['header:x-session']) }),
    ]
    const stage = identify({ validators: chain, peer: () => undefined, prove: unproved, onRejection: () => {} })
    const asked = (verified: RequestParts['verified']): string => {
      shown.length = 0
      const parts = { headers: { 'x-session': 'secret' }, ...(verified && { verified }) }
      stage.run(stateBefore(stage, {}, parts, {}, { ...policy, places, metadataKeys: ['users'] }))
      return shown.join(' ')
    }
    assert.equal(asked(undefined), 'session')
    assert.equal(asked({ users: { sub: 'a' } }), 'envoy session')
  })

  it('answers synchronously where its validators do', () => {
    const stage = identify({
      validators: [validator('one', 'abstain'), validator('two', who('two'))],
      peer: () => undefined,
      prove: unproved,
      onRejection: () => {},
    })
    assert.ok(!(stage.run(stateBefore(stage, {}, bearer)) instanceof Promise))
  })
})

describe('authorize', () => {
  const closure = closeRoles(
    new Map([
      ['invoke', []],
      ['admin', ['invoke']],
    ]),
  )
  assert.ok(closure instanceof Map)
  const roles = demandRoles(closure, 'any', ['invoke'])
  const run = (over: Partial<Route>, who: Partial<Principal> = {}, workload?: string): string => {
    const state = stateBefore(authorize, over, {}, who)
    if (workload) (state as unknown as Facts).workload = parseSpiffeId(workload)
    return outcome(authorize.run(state))
  }
  const condition = (holds: () => boolean): Partial<Route> => ({ condition: { source: '', readsResource: false, holds } })
  it('demands nothing where the route demands nothing', () => assert.equal(run({}), 'ok'))
  it('missing role', () => assert.equal(run({ roles }), 'missing_role'))
  it('inherited role', () => assert.equal(run({ roles }, { roles: ['admin'] }), 'ok'))
  it('missing scope', () =>
    assert.equal(run({ scopes: { mode: 'all', names: ['invoke:sandbox:{id}'] } }, { scopes: ['invoke:sandbox:s2'] }), 'missing_scope'))
  it('scope of the path', () =>
    assert.equal(run({ scopes: { mode: 'all', names: ['invoke:sandbox:{id}'] } }, { scopes: ['invoke:sandbox:s1'] }), 'ok'))
  it('no workload', () => assert.equal(run({ workloads: new Set(['spiffe://td/a']) }), 'workload_not_allowed'))
  it('another workload', () => assert.equal(run({ workloads: new Set(['spiffe://td/a']) }, {}, 'spiffe://td/b'), 'workload_not_allowed'))
  it('the workload', () => assert.equal(run({ workloads: new Set(['spiffe://td/a']) }, {}, 'spiffe://td/a'), 'ok'))
  it('a condition that is false', () => assert.equal(run(condition(() => false)), 'condition_failed'))
  it('a condition that cannot be evaluated', () => {
    assert.equal(
      run(
        condition(() => {
          throw new Error('no such key')
        }),
      ),
      'condition_failed',
    )
  })
  const groups = { claims: [{ claim: 'groups', header: 'x-postern-claim-groups' }] }
  it('claims of more than 4 KiB', () =>
    assert.equal(run(groups, { claims: { groups: Array(500).fill('a-long-group-name') } }), 'claims_too_large'))
  it('claims that fit', () => assert.equal(run(groups, { claims: { groups: ['a', 'b'] } }), 'ok'))
  it('a claim that is not there', () => assert.equal(run(groups), 'ok'))
})

describe('own', () => {
  const demand = (over: Partial<OwnerDemand> = {}): Partial<Route> => ({
    owner: {
      resource: 'sandbox',
      id: { from: 'path', name: 'id' },
      idPattern: /^[A-Za-z0-9._~-]{1,128}$/,
      whenAbsent: 'deny',
      source: undefined,
      bypass: new Set(['admin']),
      strict: false,
      removes: false,
      direct: false,
      ...over,
    },
  })
  const owners = (owner: string | undefined): OwnerLookup => ({
    labels: () => ({ labels: owner === undefined ? undefined : new Map([['agentcube.io/owner', owner]]), cache: 'hit' }),
  })
  const run = (lookup: OwnerLookup, over: Partial<Route>, parts: RequestParts = {}, who: Partial<Principal> = {}): string => {
    const stage = own(lookup, (state, labels) => conditionFailure(state.route.condition!, state, labels))
    const state = stateBefore(stage, over, parts, who, { ...policy, subjectsOf: new Map([['agentcube', 'users']]) })
    return `${outcome(stage.run(state))} ${(state as unknown as Facts).ownerMatch}`
  }
  const header = demand({ id: { from: 'header', name: 'x-session-id' }, whenAbsent: 'allow' })
  const query = demand({ id: { from: 'query', name: 'session' }, whenAbsent: 'allow' })
  const json = demand({ source: 'agentcube' })
  const down: OwnerLookup = {
    labels: () => {
      throw new Unavailable('down')
    },
  }
  const mustNotAsk: OwnerLookup = { labels: () => assert.fail('asked') }
  it('asks state itself where the route is strict, and there alone', () => {
    const asked: (boolean | undefined)[] = []
    const noting: OwnerLookup = {
      labels: (_source, _resource, _id, _at, strict) => {
        asked.push(strict)
        return { labels: new Map([['agentcube.io/owner', 'alice']]), cache: 'miss' }
      },
    }
    assert.equal(run(noting, demand({ strict: true })), 'ok yes')
    assert.equal(run(noting, demand()), 'ok yes')
    assert.deepEqual(asked, [true, false])
  })

  const cases: readonly [string, OwnerLookup, Partial<Route>, RequestParts, Partial<Principal>, string][] = [
    ['no demand', mustNotAsk, {}, {}, {}, 'ok none'],
    ['the owner', owners('alice'), demand(), {}, {}, 'ok yes'],
    ['somebody else', owners('bob'), demand(), {}, {}, 'not_owner no'],
    ['another case', owners('Alice'), demand(), {}, {}, 'not_owner no'],
    ['white space', owners('alice '), demand(), {}, {}, 'not_owner no'],
    ['no label', owners(''), demand(), {}, {}, 'not_owner no'],
    ['an unknown resource', owners(undefined), demand(), {}, {}, 'not_owner no'],
    ['a subject that is no label value', owners(ownerLabelValue('key:1@x')), demand(), {}, { subject: 'key:1@x' }, 'ok yes'],
    [
      'a subject that spells a hash',
      owners(ownerLabelValue('key:1@x')),
      demand(),
      {},
      { subject: ownerLabelValue('key:1@x') },
      'not_owner no',
    ],
    ['a bypass role', mustNotAsk, demand(), {}, { roles: ['admin'] }, 'ok bypassed'],
    ['state down', down, demand(), {}, {}, 'owner_unavailable none'],
    ['state down, bypassed', down, demand(), {}, { roles: ['admin'] }, 'ok bypassed'],
    [
      'state down, bypassed, on the way to the resource itself',
      down,
      demand({ direct: true }),
      {},
      { roles: ['admin'] },
      'owner_unavailable bypassed',
    ],
    ['no endpoints in the policy', owners('alice'), demand({ direct: true }), {}, {}, 'endpoint_unavailable yes'],
    ['an id outside the pattern', owners('alice'), demand(), { path: '/a/s%20s' }, {}, 'bad_request none'],
    [
      'an id over 1024 characters, whatever its pattern',
      mustNotAsk,
      demand({ idPattern: /^a*a*a*a*b$/ }),
      { path: `/a/${'a'.repeat(1025)}` },
      {},
      'bad_request none',
    ],
    ['an id outside the pattern, bypassed', owners('alice'), demand(), { path: '/a/s%20s' }, { roles: ['admin'] }, 'bad_request none'],
    ['a header', owners('alice'), header, { headers: { 'x-session-id': 's1' } }, {}, 'ok yes'],
    ['no header', mustNotAsk, header, {}, {}, 'ok none'],
    ['an empty header', owners('alice'), header, { headers: { 'x-session-id': '' } }, {}, 'bad_request none'],
    ['a repeated header', owners('alice'), header, { headers: { 'x-session-id': ['s1', 's2'] } }, {}, 'bad_request none'],
    ['a comma-joined header', owners('alice'), header, { headers: { 'x-session-id': 's1,s2' } }, {}, 'bad_request none'],
    ['a look-alike header', owners('alice'), header, { headers: { x_session_id: 's1' } }, {}, 'bad_request none'],
    ['a half look-alike header', owners('alice'), header, { headers: { 'x-session_id': 's1' } }, {}, 'bad_request none'],
    ['no header where it is needed', owners('alice'), demand({ id: { from: 'header', name: 'x-session-id' } }), {}, {}, 'bad_request none'],
    ['a query', owners('alice'), query, { path: '/a/s1?x=1&session=s1' }, {}, 'ok yes'],
    ['a query with an encoded name', owners('alice'), query, { path: '/a/s1?s%65ssion=s1' }, {}, 'ok yes'],
    ['no query', mustNotAsk, query, { path: '/a/s1?x=1' }, {}, 'ok none'],
    ['a repeated query', owners('alice'), query, { path: '/a/s1?session=s1&session=s1' }, {}, 'bad_request none'],
    ['a repeated query behind ;', owners('alice'), query, { path: '/a/s1?session=s1;session=s2' }, {}, 'bad_request none'],
    ['a query before ;', owners('alice'), query, { path: '/a/s1?session=s1;x=2' }, {}, 'bad_request none'],
    ['a query behind ;', owners('alice'), query, { path: '/a/s1?x=1;session=s1' }, {}, 'bad_request none'],
    ['a ; elsewhere', owners('alice'), query, { path: '/a/s1?x=1;y&session=s1' }, {}, 'ok yes'],
    ['a query that PHP reads so', owners('alice'), query, { path: '/a/s1?session.=s1' }, {}, 'bad_request none'],
    ['a query with a lone bracket', owners('alice'), query, { path: '/a/s1?sess[ion=s1' }, {}, 'bad_request none'],
    ['a query name that cannot be decoded', owners('alice'), query, { path: '/a/s1?s%65ssion%ff=s1' }, {}, 'bad_request none'],
    ['a query cut at NUL', owners('alice'), query, { path: '/a/s1?session%00x=s1' }, {}, 'bad_request none'],
    ['one cut at NUL that cannot be decoded', owners('alice'), query, { path: '/a/s1?sessi%6fn%00%ff=s1' }, {}, 'bad_request none'],
    ['an empty query', owners('alice'), query, { path: '/a/s1?session' }, {}, 'bad_request none'],
    ['a query in another case', owners('alice'), query, { path: '/a/s1?Session=s1' }, {}, 'bad_request none'],
    ['a query as a list', owners('alice'), query, { path: '/a/s1?session[]=s1' }, {}, 'bad_request none'],
    ['a query that cannot be decoded', owners('alice'), query, { path: '/a/s1?session=%zz' }, {}, 'bad_request none'],
    ['a platform source', owners('alice'), json, {}, {}, 'ok yes'],
    ['a platform source, raw subjects', owners('a@b'), json, {}, { rawSubject: 'a@b', subject: 'u:a@b' }, 'ok yes'],
    ['a platform source, prefixed subject', owners('u:a'), json, {}, { rawSubject: 'a', subject: 'u:a' }, 'not_owner no'],
    ['a platform source, another validator', owners('alice'), json, {}, { validator: 'agents' }, 'not_owner no'],
  ]
  for (const [name, lookup, over, parts, who, found] of cases) it(name, () => assert.equal(run(lookup, over, parts, who), found))

  it('decides a condition on labels after the owner', () => {
    const condition = {
      source: '',
      readsResource: true,
      holds: ({ resource }: { resource: ReadonlyMap<string, string> }) => resource.get('tier') === 'gold',
    }
    const labels = (tier: string, owner = 'alice'): OwnerLookup => ({
      labels: () => ({
        labels: new Map([
          ['agentcube.io/owner', owner],
          ['tier', tier],
        ]),
        cache: 'hit',
      }),
    })
    assert.equal(run(labels('gold'), { ...demand(), condition }), 'ok yes')
    assert.equal(run(labels('tin'), { ...demand(), condition }), 'condition_failed yes')
    assert.equal(run(labels('gold', 'bob'), { ...demand(), condition }), 'not_owner no')
    assert.equal(run(labels('tin', 'bob'), { ...demand(), condition }, {}, { roles: ['admin'] }), 'condition_failed bypassed')
  })
})

describe('exchange', () => {
  const downstream = { audience: 'picod', scope: [], ttl: 60, via: 'issuer' } as const
  const run = (answer: TokenAnswer): string => {
    const stage = exchange({ obtain: () => answer })
    return outcome(stage.run(stateBefore(stage, { downstream })))
  }
  it('takes the token', () => assert.equal(run({ kind: 'token', token: BearerToken.of('t')!, cache: 'hit' }), 'ok'))
  it('passes a refusal on', () => assert.equal(run({ kind: 'refused', detail: 'x' }), 'exchange_refused'))
  it('passes an outage on', () => assert.equal(run({ kind: 'unavailable', detail: 'x' }), 'exchange_unavailable'))
  it('names the workload as actor, unless the subject is its own certificate', () => {
    const actor = (who: Partial<Principal>): string | undefined => {
      let asked: string | undefined
      const stage = exchange({
        obtain: ({ workload }) => {
          asked = workload
          return { kind: 'refused', detail: 'x' }
        },
      })
      const state = stateBefore(stage, { downstream }, {}, who)
      ;(state as unknown as Facts).workload = { id: 'spiffe://td/a', trustDomain: 'td' }
      void stage.run(state)
      return asked
    }
    assert.equal(actor({}), 'spiffe://td/a')
    assert.equal(actor({ rawSubject: 'spiffe://td/a', issuer: 'spiffe://td' }), undefined)
    assert.equal(actor({ rawSubject: 'spiffe://td/a' }), 'spiffe://td/a')
  })
  it('asks for nothing where the route names no audience', () => {
    const stage = exchange({ obtain: () => assert.fail('asked') })
    assert.equal(outcome(stage.run(stateBefore(stage, {}))), 'ok')
  })
})
