import assert from 'node:assert/strict'
import { readPolicy } from '../../src/config/read.ts'
import { faults, load, policyFiles } from '../config/policy-files.ts'
import { type Members, policyWith } from './rig.ts'

const good = { name: 'ci', issuer: 'https://ci.example', audience: 'us', subject: 'ci:{sub}' }

describe('faults of federation rules', () => {
  const rows: readonly [name: string, rule: Members, fault: RegExp][] = [
    ['a condition that is none', { when: 'claims.a ==' }, /federation\[0\]\.when: not a condition: /],
    ['a condition that reads the request', { when: "request.method == 'GET'" }, /\.when: not a condition: /],
    ['a condition that is a text', { when: "'x'" }, /\.when: expected a condition that is true or false/],
    ['a pattern that takes exponential time elsewhere', { when: "claims.a.matches('(a+)\\\\1')" }, /\.when: /],
    ['a template with a hole left open', { subject: 'ci:{sub' }, /\.subject: this "\{" belongs to no claim/],
    ['two claims that touch', { subject: '{a}{b}' }, /\.subject: .*expected a text between them/],
    ['a subject of operators', { subject: 'operator:{sub}' }, /\.subject: these could be operators/],
    ['a role that is none', { roles: ['deployer', 'king'] }, /\.roles\[1\]: there is no role "king"/],
    ['the name of a validator', { name: 'ours' }, /\.name: the name "ours" occurs twice/],
    ['an issuer over plain http', { issuer: 'http://ci.example' }, /\.issuer: .* is no place for tokens/],
    [
      'an issuer over plain http beside a file',
      { issuer: 'http://ci.example', jwks: { file: '/x' } },
      /\.issuer: .* is no place for tokens/,
    ],
    ['an issuer that is no URL, without a file', { issuer: 'ci' }, /\.issuer: .* is no place for tokens/],
    ['our own issuer', { issuer: 'http://127.0.0.1:9193/' }, /\.issuer: this is our own issuer/],
    ['neither issuer nor trust domain', { issuer: undefined }, /\.issuer: "issuer" is missing/],
    ['a trust domain without keys', { issuer: undefined, trust_domain: 'acme.example' }, /\.jwks: "jwks" is missing/],
    ['a trust domain that is none', { trust_domain: 'Acme/x' }, /\.trust_domain: "Acme\/x" is no trust domain/],
    ['keys over plain http', { jwks: { uri: 'http://keys.example' } }, /\.jwks\.uri: .* is no place for tokens/],
    ['keys in two places', { jwks: { uri: 'https://keys.example', file: '/x' } }, /\.jwks\.uri: "uri" does nothing beside file/],
    ['a CA that cannot be read', { jwks: { ca: '/nowhere/ca.pem' } }, /\.jwks\.ca: "\/nowhere\/ca.pem" cannot be read/],
    ['a token that is not there', { jwks: { token: `\${file:nowhere}` } }, /\.jwks\.token: .*nowhere/],
    ['the audience of admin tokens', { audience: 'postern-admin' }, /\.audience: .* is the audience of admin tokens/],
    ['tokens for admins', { audiences: ['api', 'postern-admin'] }, /\.audiences\[1\]: .* is the audience of admin tokens/],
    [
      'an issuer that serves everybody, without a condition',
      { issuer: 'https://token.actions.githubusercontent.com' },
      /\.when: "when" is missing: anybody/,
    ],
    ['a symmetric algorithm', { algorithms: ['HS256'] }, /\.algorithms/],
    ['a life of two days', { ttl: '48h' }, /\.ttl/],
    ['a setting that is none', { conditions: 'true' }, /conditions: "conditions" is no setting here/],
  ]
  for (const [name, rule, fault] of rows)
    it(name, async () => {
      const told = await faults(await policyFiles({ 'postern.yaml': policyWith([{ ...good, ...rule }]) }))
      assert.equal(told.length, 1, told.join('\n'))
      assert.match(told[0] ?? '', fault)
    })

  it('a name that two rules have', async () => {
    const told = await faults(await policyFiles({ 'postern.yaml': policyWith([good, { ...good, issuer: 'https://other.example' }]) }))
    assert.deepEqual(told, ['issuer.federation[1].name: the name "ci" occurs twice: expected each rule and validator to have its own'])
  })
  it('no issuer listener', async () => {
    const listen = { check: { address: 'unix:/run/postern/check.sock' } }
    const identity = [{ name: 'users', type: 'oidc', issuer: 'https://idp.example', audience: ['x'] }]
    const told = await faults(await policyFiles({ 'postern.yaml': policyWith([{ ...good, audiences: ['api'] }], { listen, identity }) }))
    assert.deepEqual(told, ['issuer.federation: tokens are swapped at the issuer listener: expected listen.issuer'])
  })
  it('nothing that our tokens could be for', async () => {
    const identity = [{ name: 'users', type: 'oidc', issuer: 'https://idp.example', audience: ['x'] }]
    const [told] = await faults(await policyFiles({ 'postern.yaml': policyWith([good], { identity }) }))
    assert.match(told ?? '', /audiences: "audiences" is missing: there is no postern validator/)
  })
  it('are told at their place in the file, also within a condition', async () => {
    const text = `version: 1
listen: { check: { address: unix:/run/postern/check.sock }, issuer: { address: 127.0.0.1:9193 } }
state: "memory:"
identity:
  - { name: ours, type: postern }
routes:
  - { id: health, path: /healthz, public: true }
issuer:
  federation:
    - name: ci
      issuer: https://ci.example
      audience: us
      when: claims.a == 'x' && request.host == 'y'
      subject: "ci:{sub"
`
    const result = await readPolicy({ file: await policyFiles({ 'postern.yaml': text }), env: {} })
    assert.ok(!result.ok)
    assert.deepEqual(
      result.faults.map(({ line, column, path }) => `${line}:${column} ${path}`),
      ['13:32 issuer.federation[0].when', '14:20 issuer.federation[0].subject'],
    )
  })
})

describe('warnings of federation rules', () => {
  const rows: readonly [name: string, rules: readonly Members[], warning: RegExp][] = [
    ['a subject that is the same for all', [{ ...good, subject: 'ci' }], /every workload of "ci" is the same to us/],
    ['a file that is not there yet', [{ ...good, jwks: { file: '/nowhere/bundle.json' } }], /"\/nowhere\/bundle.json" is not there/],
    ['a rule that is never asked', [good, { ...good, name: 'late', when: 'false' }], /"ci" above it takes all tokens/],
    [
      'a role that the edge takes away',
      [{ ...good, roles: ['runner', 'deployer'] }],
      /roles\[1\]: "ours" admits no token with the role "deployer"/,
    ],
    ['a slash too many', [{ ...good, issuer: 'https://gitlab.com/', when: 'false' }], /GitLab writes its issuer without a "\/"/],
  ]
  for (const [name, rules, warning] of rows)
    it(name, async () => {
      const identity = [{ name: 'ours', type: 'postern', audience: 'postern', may_assert: ['runner'] }]
      const { warnings } = await load(await policyFiles({ 'postern.yaml': policyWith(rules, { identity }) }))
      const told = warnings.map(({ path, message }) => `${path}: ${message}`).filter((one) => one.startsWith('issuer.federation'))
      assert.equal(told.length, 1, told.join('\n'))
      assert.match(told[0] ?? '', warning)
    })
  it('are none for usual ones', async () => {
    const { warnings, settings } = await load(
      await policyFiles({
        'postern.yaml': policyWith([
          { ...good, issuer: 'https://ci.example/{realm}', when: 'true' },
          { ...good, name: 'ci-2' },
        ]),
      }),
    )
    assert.deepEqual(
      warnings.filter(({ path }) => path.startsWith('issuer.federation')),
      [],
    )
    assert.equal(settings.issuer.federation[0]?.issuer, 'https://ci.example/default')
  })
})
