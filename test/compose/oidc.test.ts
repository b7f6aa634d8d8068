import assert from 'node:assert/strict'
import type { Introspection } from '../../src/adapters/introspection.ts'
import type { Jwks } from '../../src/adapters/jwks.ts'
import { composeValidators } from '../../src/compose/identity.ts'
import { Pool } from '../../src/compose/pool.ts'
import { Facts } from '../../src/core/facts.ts'
import { Deny } from '../../src/core/reasons.ts'
import type { Validator } from '../../src/core/validator.ts'
import { identify } from '../../src/stages/identify.ts'
import { normalize } from '../../src/stages/normalize.ts'
import { route } from '../../src/stages/route.ts'
import { json, type LocalServer, localServer } from '../adapters/local-server.ts'
import { load, policyFiles } from '../config/policy-files.ts'
import { anEntry, aPolicy, aRequest } from '../support/facts.ts'

const policyFor = (one: string, two: string): string => `
version: 1
listen: { check: { address: unix:/run/postern/check.sock } }
identity:
  - { name: one, type: oidc, issuer: "${one}", audience: [edge], introspection: { client_id: p, auth: { secret: "\${file:secret}" } } }
  - { name: two, type: oidc, issuer: "${two}", audience: [edge], introspection: { client_id: p, auth: { secret: "\${file:secret}" } } }
routes:
  - { id: health, path: /healthz, public: true }
`

/** An issuer that knows some tokens. */
interface Opaque {
  readonly server: LocalServer
  tokens: Record<string, object>
  readonly asked: string[]
}

describe('two issuers of opaque tokens in one chain', () => {
  let one: Opaque
  let two: Opaque
  let validators: Validator[]
  let pools: { jwks: Pool<Jwks>; introspections: Pool<Introspection> }

  const start = async (tokens: Record<string, object>): Promise<Opaque> => {
    const server = await localServer()
    const opaque: Opaque = { server, tokens, asked: [] }
    server.handle = ({ path, body }, response) => {
      const { url } = server
      if (path !== '/introspect')
        return void json(response, { issuer: url, jwks_uri: `${url}/keys`, introspection_endpoint: `${url}/introspect` })
      const token = new URLSearchParams(body).get('token') ?? ''
      opaque.asked.push(token)
      json(response, opaque.tokens[token] ?? opaque.tokens['*'] ?? { active: false })
    }
    return opaque
  }

  beforeEach(async () => {
    const active = (sub: string) => ({ active: true, sub, aud: 'edge', exp: Math.floor(Date.now() / 1000) + 300 })
    one = await start({ 'of-one': active('alice') })
    two = await start({ 'of-two': active('bob') })
    pools = { jwks: new Pool((keys) => keys.close()), introspections: new Pool((asked) => asked.close()) }
    const file = await policyFiles({ 'postern.yaml': policyFor(one.server.url, two.server.url), secret: 'x' })
    const { settings } = await load(file)
    validators = composeValidators(settings, { ...pools, issuer: undefined })
  })
  afterEach(async () => {
    await pools.jwks.close()
    await pools.introspections.close()
    await one.server.stop()
    await two.server.stop()
  })

  /** Who it is and for which validator, or why not; then those that rejected it. */
  const ask = async (token: string): Promise<string> => {
    const rejected: string[] = []
    const stage = identify({
      validators,
      peer: () => undefined,
      prove: () => assert.fail('nothing is to be proved'),
      onRejection: ({ validator }) => rejected.push(validator),
    })
    const policy = aPolicy([anEntry('GET /a', { id: 'a' })])
    const facts = new Facts(aRequest({ path: '/a', headers: { authorization: `Bearer ${token}` } }), policy, Date.now(), 'id-1')
    const target = await normalize.run(facts)
    assert.ok(!(target instanceof Deny))
    const routed = await route.run(target)
    assert.ok(!(routed instanceof Deny) && !routed.open)
    const found = await stage.run(routed as Parameters<typeof stage.run>[0])
    const who = found instanceof Deny ? found.reason : `${found.principal.validator} ${found.principal.subject}`
    return [who, ...rejected.map((name) => `-${name}`)].join(' ')
  }

  it('admits what the second knows, though it is not active at the first', async () => {
    assert.equal(await ask('of-two'), 'two bob -one')
    assert.equal(await ask('of-one'), 'one alice')
    assert.deepEqual([one.asked, two.asked], [['of-two', 'of-one'], ['of-two']])
  })
  it('rejects what neither knows', async () => assert.equal(await ask('of-nobody'), 'invalid_credential -one -two'))
  it('goes on to the second where the first is down, and says that it cannot be known', async () => {
    one.server.handle = (_, response) => json(response, {}, 500)
    assert.equal(await ask('of-two'), 'two bob -one')
    assert.equal(await ask('of-nobody'), 'identity_unavailable -one -two')
  })
  it('lets no issuer speak for the other', async () => {
    two.tokens = { '*': { active: true, iss: one.server.url, sub: 'alice', aud: 'edge' } }
    assert.equal(await ask('stolen'), 'invalid_credential -one -two')
    two.tokens = { '*': { active: true, sub: 'alice', aud: 'edge' } }
    assert.equal(await ask('made-up'), 'two alice -one', 'a person of the second, whatever it is called')
    assert.equal(await ask('of-one'), 'one alice')
  })
  it('tells neither of tokens that are ours, or a JWT', async () => {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const foreign = `${part({ alg: 'RS256' })}.${part({ iss: 'https://elsewhere.example', sub: 'x' })}.c2ln`
    for (const token of ['postern_key_0123456789', foreign]) assert.equal(await ask(token), 'no_validator_admitted -')
    assert.deepEqual([one.asked, two.asked], [[], []])
  })
})

describe('entries of one issuer', () => {
  it('share its keys, whatever each lets its tokens be signed with', async () => {
    const server = await localServer()
    server.handle = ({ path }, response) =>
      json(response, path === '/keys' ? { keys: [] } : { issuer: server.url, jwks_uri: `${server.url}/keys` })
    const jwks = new Pool<Jwks>((keys) => keys.close())
    try {
      const entry = (name: string, more: string): string =>
        `  - { name: ${name}, type: oidc, issuer: "${server.url}", audience: [x]${more} }`
      const entries = [
        entry('a', ''),
        entry('b', ', algorithms: [ES384]'),
        entry('c', ', provider: okta'),
        entry('d', ', jwks: { refresh: 1h }'),
      ]
      const policy = `version: 1\nlisten: { check: { address: unix:/run/postern/check.sock } }\nidentity:\n${entries.join('\n')}\nroutes: []\n`
      const { settings } = await load(await policyFiles({ 'postern.yaml': policy }))
      composeValidators(settings, { jwks, issuer: undefined })
      const found = jwks.values()
      assert.equal(found.length, 2, 'another refresh is another set')
      await Promise.all(found.map((keys) => keys.refresh()))
      assert.match(found[0]?.condition().message ?? '', /RS256, ES256, EdDSA, ES384$/)
      assert.equal(server.seen.filter(({ path }) => path === '/keys').length, 2)
    } finally {
      await jwks.close()
      await server.stop()
    }
  })
})
