import assert from 'node:assert/strict'
import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { composeFederation } from '../../src/compose/federation.ts'
import { ClaimConditions } from '../../src/config/federation-conditions.ts'
import type { JsonObject } from '../../src/core/json.ts'
import type { SubjectAnswer } from '../../src/issuer/subject-token.ts'
import { load, policyFiles } from '../config/policy-files.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { type Federation, keyPair, type Members, openFederation, type Provider, policyWith, type Recorded, startProvider } from './rig.ts'

const recorded: Recorded = {
  header: { alg: 'ES256', typ: 'JWT' },
  payload: { iss: 'https://ci.example', sub: 'job:1', aud: 'us', iat: 1767225600, exp: 1767229200, team: 'a' },
  key: { kty: 'EC', use: 'sig' },
  others: [],
}
const discovery = JSON.stringify({ issuer: 'https://ci.example', jwks_uri: 'https://ci.example/keys' })

/** Who it is by which rule, or what came of it. */
const told = (answer: SubjectAnswer): string =>
  answer.kind === 'subject'
    ? `${answer.subject.by.name} ${answer.subject.subject}`
    : 'detail' in answer
      ? `${answer.kind}: ${answer.detail}`
      : answer.kind

describe('federation rules', () => {
  let provider: Provider
  let other: Provider
  let files: TemporaryFolder
  const open: Federation[] = []
  before(async () => {
    provider = await startProvider(recorded, discovery)
    other = await startProvider(recorded, discovery)
    files = temporaryFolder()
  })
  afterEach(async () => {
    provider.answers = true
    for (const federation of open.splice(0)) await federation.close()
  })
  after(async () => {
    await provider.stop()
    await other.stop()
    files.remove()
  })
  const federate = async (...rules: readonly Members[]): Promise<Federation> => {
    const federation = await openFederation(
      rules.map((rule, i) => ({ name: `r${i}`, issuer: provider.url, audience: 'us', subject: '{sub}', ...rule })),
    )
    open.push(federation)
    return federation
  }

  describe('of one issuer and audience', () => {
    it('are asked in order, and the first whose condition holds wins', async () => {
      const { ask } = await federate(
        { when: "claims.team == 'b'" },
        { when: "claims.team == 'a'", subject: 'a:{sub}' },
        { subject: 'any:{sub}' },
      )
      assert.equal(told(await ask(provider.token())), 'r1 a:job:1')
      assert.equal(told(await ask(provider.token({ claims: { team: 'b' } }))), 'r0 job:1')
      assert.equal(told(await ask(provider.token({ claims: { team: 'c' } }))), 'r2 any:job:1')
    })
    it('are not gone through after one that could not be evaluated', async () => {
      const { ask } = await federate({ when: 'claims.missing == 1' }, { subject: 'any:{sub}' })
      assert.equal(told(await ask(provider.token())), 'refused: r0: the condition could not be evaluated on these claims')
    })
    it('are not gone through after one that won and could not make a subject', async () => {
      const { ask } = await federate({ subject: '{missing}' }, { subject: 'any:{sub}' })
      assert.match(told(await ask(provider.token())), /^refused: r0: the claim missing is missing/)
    })
    it('may let tokens be signed in different ways', async () => {
      const { ask } = await federate({ algorithms: ['RS256'], subject: 'rsa:{sub}' }, { algorithms: ['ES256'], subject: 'ec:{sub}' })
      assert.equal(told(await ask(provider.token())), 'r1 ec:job:1')
    })
    it('share the keys, which are fetched once', async () => {
      const federation = await federate({ when: 'false' }, { when: 'false' }, {})
      assert.equal(told(await federation.ask(provider.token())), 'r2 job:1')
      assert.equal(federation.jwks.values().length, 1)
    })
  })

  describe('of several issuers and audiences', () => {
    it('are told apart by both', async () => {
      const { ask } = await federate(
        { audience: 'us' },
        { audience: 'them', subject: 'them:{sub}' },
        { issuer: other.url, subject: 'other:{sub}' },
      )
      assert.equal(told(await ask(provider.token())), 'r0 job:1')
      assert.equal(told(await ask(provider.token({ claims: { aud: 'them' } }))), 'r1 them:job:1')
      assert.equal(told(await ask(other.token())), 'r2 other:job:1')
      assert.equal(told(await ask(provider.token({ claims: { aud: ['x', 1] } }))), 'refused: aud holds none of us, them')
    })
    it('hold each text of aud against theirs, and take nothing else for an audience', async () => {
      const { ask } = await federate({})
      assert.equal(told(await ask(provider.token({ claims: { aud: ['them', 'us'] } }))), 'r0 job:1')
      for (const aud of [['us', 1], [['us']], { us: true }, 'us ', 'US', []])
        assert.match(told(await ask(provider.token({ claims: { aud } }))), /^refused: aud holds none of us/)
    })
    it('hold an issuer to a trust domain where they name both', async () => {
      const { ask } = await federate({ trust_domain: 'acme.example' })
      const sub = (domain: string): string => provider.token({ claims: { sub: `spiffe://${domain}/a` } })
      assert.equal(told(await ask(sub('acme.example'))), 'r0 spiffe://acme.example/a')
      assert.match(told(await ask(sub('evil.example'))), /sub is no SPIFFE ID of acme.example/)
      assert.match(told(await ask(provider.token())), /sub is no SPIFFE ID of acme.example/)
    })
    it('never let one issuer speak for another', async () => {
      const { ask } = await federate({}, { issuer: other.url, subject: 'other:{sub}' })
      assert.match(told(await ask(provider.token({ claims: { iss: other.url } }))), /^refused: r1: the signature does not verify/)
    })
    it('do not know tokens of anybody else, and refuse broken ones of their own', async () => {
      const { ask } = await federate({})
      assert.equal(told(await ask('opaque')), 'unknown')
      assert.equal(told(await ask(provider.token({ claims: { iss: 'https://else.example' } }))), 'unknown')
      assert.match(told(await ask(`${provider.token()}=`)), /^refused: no JWT in the strict form/)
      assert.match(told(await ask(provider.token({ claims: { pad: 'x'.repeat(9000) } }))), /^refused: no JWT/)
    })
  })

  it('give roles, scopes, audiences and a life, and pass on whoever acts', async () => {
    const rule = { roles: ['runner'], scopes: ['read:data:*'], audiences: ['api'], ttl: '90s' }
    const { ask } = await federate(rule)
    const answer = await ask(provider.token({ claims: { act: { sub: 'proxy' }, cnf: { jkt: 'A'.repeat(43) } } }))
    assert.ok(answer.kind === 'subject', told(answer))
    const { claims, expiresAt, ...subject } = answer.subject
    assert.equal(claims['team'], 'a')
    assert.equal(expiresAt, claims['exp'])
    assert.deepEqual(subject, {
      by: { kind: 'federation', name: 'r0' },
      subject: 'job:1',
      roles: ['runner'],
      scopes: ['read:data:*'],
      actor: { subject: 'proxy' },
      confirmation: { x5tS256: undefined, jkt: 'A'.repeat(43) },
      client: undefined,
      task: undefined,
      orchestration: undefined,
      exchanged: false,
      grants: { audiences: ['api'], ttl: 90 },
    })
    assert.match(told(await ask(provider.token({ claims: { act: { iss: 'x' } } }))), /act is no chain/)
  })

  it('let a token be swapped several times, until it has expired', async () => {
    const { ask } = await federate({})
    const token = provider.token({ claims: { exp: 30 } })
    assert.equal(told(await ask(token)), 'r0 job:1')
    assert.equal(told(await ask(token)), 'r0 job:1')
    assert.match(told(await ask(token, Date.now() + 31_000)), /has expired/)
  })

  it('never make an operator or an agent of a workload', async () => {
    const federation = await openFederation([{ name: 'r0', issuer: provider.url, audience: 'us', subject: '{sub}' }], {
      broker: { enabled: true, trust_domain: 'agents.example' },
      admin: { secret: 'k3J9vQ2mX7pL5rT8wZ1yB4nC6dF0gH-a' },
    })
    open.push(federation)
    for (const sub of ['operator:root', 'spiffe://agents.example/agent/o/t/1'])
      assert.match(told(await federation.ask(provider.token({ claims: { sub } }))), /operators or agents/)
  })

  describe('whose keys cannot be had', () => {
    it('answer unavailable, and never go on to the next rule', async () => {
      provider.answers = false
      const { ask } = await federate({}, { jwks: { uri: `${other.url}/keys` }, subject: 'other:{sub}' })
      assert.match(told(await ask(provider.token())), /^unavailable: keys of .* cannot be had: .* answered 503/)
    })
    it('find a key that was rotated in while the service ran', async () => {
      const { ask } = await federate({})
      assert.equal(told(await ask(provider.token())), 'r0 job:1')
      assert.match(
        told(await ask(provider.token({ header: { kid: 'new' }, key: keyPair('EC').privateKey }))),
        /no key of the issuer has this kid/,
      )
    })
  })

  describe('with keys in a file', () => {
    const rule = (name: string) => ({ issuer: undefined, trust_domain: 'acme.example', jwks: { file: files.file(name) } })
    const sub = 'spiffe://acme.example/a'
    const svid = (key = keyPair('EC')) => ({
      keys: (use: string, kid = 'own') => JSON.stringify({ keys: [{ ...key.publicKey.export({ format: 'jwk' }), use, kid }] }),
      token: () => provider.token({ claims: { iss: null, sub }, key: key.privateKey }),
    })

    it('read it again when it was replaced, and keep the last good ones', async () => {
      const [one, two] = [svid(), svid()]
      writeFileSync(files.file('a.json'), one.keys('jwt-svid'))
      const { ask, jwks } = await federate(rule('a.json'))
      const look = async (): Promise<void> => {
        for (const keys of jwks.values()) await keys.refresh()
      }
      assert.equal(told(await ask(one.token())), `r0 ${sub}`)
      assert.match(told(await ask(two.token())), /signature does not verify/)
      writeFileSync(files.file('next.json'), two.keys('jwt-svid', 'own'))
      renameSync(files.file('next.json'), files.file('a.json'))
      await look()
      assert.equal(told(await ask(two.token())), `r0 ${sub}`)
      assert.match(told(await ask(one.token())), /signature does not verify/)
      writeFileSync(files.file('a.json'), '{"keys":')
      await look()
      assert.equal(told(await ask(two.token())), `r0 ${sub}`)
      assert.equal(jwks.values()[0]?.condition().reason, 'UsingLastGood')
      rmSync(files.file('a.json'))
      await look()
      assert.equal(told(await ask(two.token())), `r0 ${sub}`)
    })
    it('answer unavailable without a file, and go on when it comes', async () => {
      const one = svid()
      const { ask, jwks } = await federate(rule('late.json'))
      assert.match(told(await ask(one.token())), /^unavailable: keys of spiffe:\/\/acme.example cannot be had: .* there is no such file/)
      writeFileSync(files.file('late.json'), one.keys('jwt-svid'))
      for (const keys of jwks.values()) await keys.refresh()
      assert.equal(told(await ask(one.token())), `r0 ${sub}`)
    })
    it('look at the keys of JWT-SVIDs alone', async () => {
      const one = svid()
      writeFileSync(files.file('x509.json'), one.keys('x509-svid'))
      const { ask } = await federate(rule('x509.json'))
      assert.match(told(await ask(one.token())), /^unavailable: .* holds no key/)
    })
    it('share the file over reloads', async () => {
      const one = svid()
      writeFileSync(files.file('shared.json'), one.keys('jwt-svid'))
      const rules = [
        { name: 'r0', audience: 'us', subject: '{sub}', trust_domain: 'acme.example', jwks: { file: files.file('shared.json') } },
      ]
      const federation = await openFederation(rules)
      open.push(federation)
      const { settings } = await load(await policyFiles({ 'postern.yaml': policyWith([{ ...rules[0], ttl: '1m' }]) }))
      composeFederation(settings, { jwks: federation.jwks })
      federation.jwks.sweep()
      assert.equal(federation.jwks.values().length, 1)
    })
  })
})

describe('conditions on claims', () => {
  const conditions = new ClaimConditions()
  const evaluate = (source: string, claims: JsonObject): boolean | 'failed' => {
    const condition = conditions.compile(source)
    if ('message' in condition) throw new Error(condition.message)
    try {
      return condition.holds(claims)
    } catch {
      return 'failed'
    }
  }
  const claims: JsonObject = { a: 'x', n: 3, yes: true, list: ['p', 'q'], o: { 'b.c': { d: 'e' } } }
  const rows: readonly [source: string, answer: boolean | 'failed'][] = [
    ["claims.a == 'x'", true],
    ["claims['a'] == 'y'", false],
    ['claims.n == 3', true],
    ['claims.n > 2.5', true],
    ['claims.yes == true', true],
    ['claims.yes && true', true],
    ["'p' in claims.list", true],
    ["claims.o['b.c'].d == 'e'", true],
    ['has(claims.z)', false],
    ["'z' in claims", false],
    ["has(claims.a) && claims.a.startsWith('x')", true],
    ["claims.z == 'x'", 'failed'],
    ['claims.a && true', 'failed'],
    ["claims.a.matches('^[xy]$')", true],
    ['has(claims.constructor)', false],
    ["'toString' in claims", false],
    ["claims.constructor == 'x'", 'failed'],
    ["claims.list.exists(l, l == 'q')", true],
    ["claims.n == '3'", false],
  ]
  for (const [source, answer] of rows) it(source, () => assert.equal(evaluate(source, claims), answer))
  it('are true or false by themselves', () => assert.ok('message' in conditions.compile('claims.yes')))
  it('name claims alone', () => {
    for (const source of ['request.method', 'principal.subject', 'now', 'env'])
      assert.ok('message' in conditions.compile(`${source} == 'x'`), source)
  })
})
