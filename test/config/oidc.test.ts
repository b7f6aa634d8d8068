import assert from 'node:assert/strict'
import { dirname, join } from 'node:path'
import { providerNames, providers } from '../../src/config/providers.ts'
import type { OidcSettings } from '../../src/config/schema-oidc.ts'
import { load, policyFiles } from './policy-files.ts'

const policy = (...entries: string[]): string => `version: 1
listen: { check: { address: unix:/run/postern/check.sock } }
realm: acme
identity:
${entries.map((entry) => `  - { ${entry} }`).join('\n')}
routes:
  - { id: health, path: /healthz, public: true }
`
const users = 'name: users, type: oidc, audience: [edge]'

async function read(...entries: string[]): Promise<{ settings: OidcSettings; warnings: string[]; folder: string }> {
  const file = await policyFiles({ 'postern.yaml': policy(...entries), 'ca.pem': 'a', 'c.pem': 'a', 'k.pem': 'a', secret: 'x' })
  const { settings, warnings } = await load(file)
  const [entry] = settings.identity
  assert.ok(entry?.type === 'oidc')
  return { settings: entry, warnings: warnings.map(({ path, message }) => `${path}: ${message}`), folder: dirname(file) }
}

describe('settings of oidc', () => {
  for (const name of providerNames) {
    it(`take their defaults from ${providers[name].title}`, async () => {
      const { settings } = await read(`${users}, provider: ${name}, issuer: "https://idp.example"`)
      assert.deepEqual(settings.claims, providers[name].claims)
      assert.deepEqual([settings.algorithms, settings.types], [providers[name].algorithms, providers[name].types])
    })
  }
  it('go before what the provider has; either of role and roles stands for both', async () => {
    const { settings } = await read(
      `${users}, provider: azure, issuer: "https://idp.example", algorithms: [PS256], types: [AT+JWT], claims: { subject: sub, role: r }`,
    )
    assert.deepEqual(settings.claims, { subject: 'sub', role: 'r', scopes: 'scp' })
    assert.deepEqual([settings.algorithms, settings.types], [['PS256'], ['at+jwt']])
  })
  it('have the realm filled in, files from the folder of the policy, and secrets by reference', async () => {
    const { settings, folder } = await read(
      `${users}, issuer: "https://{realm}.example", jwks: { uri: "https://{realm}.example/keys", ca: ca.pem, token: "\${file:secret}" },` +
        ` introspection: { client_id: postern, endpoint: "https://{realm}.example/i", auth: { mtls: { cert: c.pem, key: k.pem } } }`,
    )
    assert.deepEqual([settings.issuer, settings.jwks.uri], ['https://acme.example', 'https://acme.example/keys'])
    assert.deepEqual([settings.jwks.ca, settings.jwks.token?.read()], [join(folder, 'ca.pem'), 'x'])
    assert.equal(settings.introspection?.endpoint, 'https://acme.example/i')
    assert.deepEqual(settings.introspection.auth.mtls, { cert: join(folder, 'c.pem'), key: join(folder, 'k.pem') })
    assert.deepEqual(settings.introspection.cache, { ttl: 30_000, negative_ttl: 5_000, size: 10_000 })
    assert.deepEqual([settings.introspection.tokens, settings.introspection.timeout], ['opaque', 1_000])
  })
  it('are warned of where the issuer looks wrong for its provider', async () => {
    const { warnings } = await read(`${users}, provider: auth0, issuer: "https://acme.us.auth0.com"`)
    assert.ok(warnings.some((line) => line.startsWith('identity[0].issuer: Auth0 writes its issuer with a "/" at the end')))
    const right = await read(`${users}, provider: auth0, issuer: "https://acme.us.auth0.com/"`)
    assert.deepEqual(
      right.warnings.filter((line) => line.includes('issuer')),
      [],
    )
  })
  it('are warned of where a shared token could be sent to an issuer', async () => {
    const asking = `${users}, issuer: "https://idp.example", introspection: { client_id: p, auth: { secret: "\${file:secret}" } }`
    const shared = `name: legacy, type: shared-token, secret: "\${file:secret}"`
    const told = (warnings: readonly string[]): string[] => warnings.filter((line) => line.includes('asks its issuer'))
    const file = async (...entries: string[]): Promise<string> =>
      policyFiles({ 'postern.yaml': policy(...entries), secret: 'x'.repeat(40) })
    const warned = async (...entries: string[]): Promise<string[]> =>
      told((await load(await file(...entries))).warnings.map(({ path, message }) => `${path}: ${message}`))
    assert.deepEqual((await warned(asking, shared)).length, 1)
    assert.deepEqual(await warned(shared, asking), [])
  })
})
