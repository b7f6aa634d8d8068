import assert from 'node:assert/strict'
import { load, policyFiles } from './policy-files.ts'

/** A policy with some validators and one route. */
const policy = (identity: string, route: string): string => `version: 1
listen: { check: { address: unix:/run/postern/check.sock } }
identity:
${identity}
roles: { viewer: {} }
routes:
  - { id: a, path: /a, roles: [viewer], ${route} }
`
const idp = '{ name: users, type: oidc, issuer: https://a.example, audience: [x]'

const cases: readonly [name: string, identity: string, route: string, path: string, message: RegExp][] = [
  ['a token in the query', `  - ${idp}, from: [query] }`, 'binding: none', 'identity[0].from', /tokens in the query/],
  [
    'an edge whose certificate is taken for the caller',
    '  - { name: workloads, type: mtls, trust_domain: mesh }\n  - { name: mesh, type: edge-trust, from: ["spiffe://mesh/ns/a/sa/b"] }',
    'binding: none',
    'identity[1]',
    /identifies the edge itself/,
  ],
  [
    'a role that nobody has',
    '  - { name: keys, type: api-keys, default_role: editor }',
    'binding: none',
    'identity[0].default_role',
    /"editor"/,
  ],
  [
    'two issuers that are asked about opaque tokens',
    `  - ${idp}, introspection: { client_id: c, auth: { secret: s } } }\n  - { name: others, type: oidc, issuer: https://b.example, audience: [x], introspection: { client_id: c, auth: { secret: s } } }`,
    'binding: none',
    'identity[1].introspection',
    /is shown the opaque tokens of "others"/,
  ],
  ['DPoP where Envoy keeps the token', `  - ${idp}, verified_by: envoy }`, 'binding: dpop', 'routes[0].binding', /forward: true/],
  [
    'DPoP where the upstream has Authorization',
    `  - ${idp} }`,
    'binding: dpop, authorization: keep',
    'routes[0].binding',
    /is the upstream's/,
  ],
]

describe('warnings of a policy file', () => {
  for (const [name, identity, route, path, message] of cases) {
    it(name, async () => {
      const { warnings } = await load(await policyFiles({ 'postern.yaml': policy(identity, route) }))
      const told = warnings.filter((warning) => warning.path === path && message.test(warning.message))
      assert.equal(told.length, 1, JSON.stringify(warnings, undefined, 2))
    })
  }

  it('an ext_proc listener that nothing needs, and one that every process can reach', async () => {
    const text = (address: string, owner: string) =>
      policy(`  - ${idp} }`, owner).replace('check.sock }', `check.sock }, ext_proc: { address: "${address}" }`)
    const toldOf = async (address: string, owner: string) => {
      const { warnings } = await load(await policyFiles({ 'postern.yaml': text(address, owner) }))
      return warnings.filter(({ path }) => path.startsWith('listen.ext_proc')).map(({ path }) => path)
    }
    const capture = 'methods: [POST], owner: { capture: { resource: sandbox, id: [response.location] } }'
    assert.deepEqual(await toldOf('unix:/run/postern/ext-proc.sock', 'binding: none'), ['listen.ext_proc'])
    assert.deepEqual(await toldOf('unix:/run/postern/ext-proc.sock', capture), [])
    assert.deepEqual(await toldOf('127.0.0.1:9194', capture), ['listen.ext_proc.address'])
  })

  it('keys of replicas in a file of one host', async () => {
    const text = (keys: string) => `${policy(`  - ${idp} }`, 'binding: none')}state: redis://127.0.0.1:6379/0
admin: { secret: "a secret that nobody guesses, of 40 letters" }
issuer: { keys: { ${keys} } }
`
    const told = async (keys: string) =>
      (await load(await policyFiles({ 'postern.yaml': text(keys) }))).warnings.filter(({ path }) => path === 'issuer.keys.file')
    // No other key is needed then: none of them is in Redis.
    assert.match((await told('file: keys.json')).map(({ message }) => message).join(), /replicas on other hosts do not share this file/)
    assert.deepEqual(await told(`encryption_key: "${'ab'.repeat(32)}"`), [])
  })

  it('of none of these where there is none', async () => {
    const identity = `  - { name: mesh, type: edge-trust, from: ["spiffe://mesh/ns/a/sa/b"] }\n  - { name: workloads, type: mtls, trust_domain: mesh }\n  - ${idp}, verified_by: envoy, forward: true }`
    const { warnings } = await load(await policyFiles({ 'postern.yaml': policy(identity, 'binding: dpop') }))
    for (const { message } of warnings) for (const [, , , , pattern] of cases) assert.doesNotMatch(message, pattern)
  })
})
