import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { discoveryUrl } from '../../../src/adapters/discovery.ts'
import type { Jwks } from '../../../src/adapters/jwks.ts'
import { composeOidc } from '../../../src/compose/oidc.ts'
import { Pool } from '../../../src/compose/pool.ts'
import { type ProviderName, providerNames, providers } from '../../../src/config/providers.ts'
import { issuerWarning } from '../../../src/config/providers-issuer.ts'
import { oidc } from '../../../src/config/schema-oidc.ts'
import type { Principal } from '../../../src/core/principal.ts'
import { Deny } from '../../../src/core/reasons.ts'
import { json, type LocalServer, localServer } from '../../adapters/local-server.ts'
import { encode, present, signToken } from '../tokens.ts'

type Members = Readonly<Record<string, unknown>>

/** `claims.json`: a token as this provider makes it, and how it shows its key. */
interface Recorded {
  readonly header: Members
  readonly payload: Members & { readonly iss: string; readonly iat: number; readonly exp: number }
  /** Members of the key in its key set, beside the public ones. */
  readonly key: Members & { readonly kty: string }
  /** Further keys of the set. */
  readonly others: readonly (Members & { readonly kty: string })[]
}

interface Variant {
  readonly name: string
  /** Merged over the recorded ones; null leaves a member out. */
  readonly header?: Members
  readonly claims?: Members
}

/** `expected.yaml` */
interface Expected {
  readonly identity: Members
  readonly principal: Members
  /** Whether its issuers end in a slash. */
  readonly slash: 'always' | 'never' | 'any'
  readonly rejects: readonly (Variant & { readonly reason?: string })[]
  readonly also: readonly (Variant & { readonly identity?: Members; readonly principal: Members })[]
}

const read = (name: string, file: string): string => readFileSync(new URL(`${name}/${file}`, import.meta.url), 'utf8')
const pair = (kty: string): Readonly<Record<'publicKey' | 'privateKey', KeyObject>> =>
  kty === 'RSA'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : kty === 'EC'
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('ed25519')
const merged = (members: Members, more: Members = {}): Members =>
  Object.fromEntries(Object.entries({ ...members, ...more }).filter(([, value]) => value !== null))

for (const name of providerNames) {
  const expected = parse(read(name, 'expected.yaml')) as Expected
  const recorded = JSON.parse(read(name, 'claims.json')) as Recorded

  describe(`tokens of ${providers[name].title}`, () => {
    let server: LocalServer
    let pool: Pool<Jwks>
    const own = pair(recorded.key.kty)
    const strangers = recorded.others.map(({ kty }) => pair(kty))

    /** All hosts of the recording are the one of the test. */
    const here = (text: string): string => text.replace(/https:\/\/[^/"]+/g, server.url)
    const issuer = (): string => here(recorded.payload.iss)

    before(async () => {
      server = await localServer()
      pool = new Pool((keys) => keys.close())
      const discovery = JSON.parse(here(read(name, 'discovery.json'))) as { jwks_uri: string }
      const keys = [
        ...recorded.others.map((members, i) => ({ ...strangers[i]!.publicKey.export({ format: 'jwk' }), ...members, kid: `other-${i}` })),
        { ...own.publicKey.export({ format: 'jwk' }), ...recorded.key, kid: 'own' },
      ]
      server.handle = ({ path }, response) => {
        const url = `${server.url}${path}`
        if (url === discoveryUrl(issuer())) json(response, discovery)
        else if (url === discovery.jwks_uri) json(response, { keys })
        else json(response, {}, 404)
      }
    })
    after(async () => {
      await pool.close()
      await server.stop()
    })

    const ask = async (identity: Members, { header, claims }: Omit<Variant, 'name'> = {}): Promise<Principal | string> => {
      const now = Date.now()
      const entry = oidc().parse({ name: 'users', type: 'oidc', issuer: issuer(), ...identity, jwks: {} })
      const validator = composeOidc(entry, { validator: 'users', namespace: '', mayAssert: undefined }, { jwks: pool })
      const { iat, exp } = recorded.payload
      const shift = (value: unknown): unknown => (typeof value === 'number' && value > 1e9 ? value - iat + Math.floor(now / 1000) : value)
      const timely = Object.fromEntries(Object.entries(recorded.payload).map(([claim, value]) => [claim, shift(value)]))
      assert.ok(exp > iat)
      const said = claims && (JSON.parse(JSON.stringify(claims).replaceAll('@origin@', server.url)) as Members)
      const payload = merged({ ...timely, iss: issuer() }, said)
      const named = merged({ ...recorded.header, kid: 'own' }, header)
      const token = named['alg'] === 'none' ? `${encode(named)}.${encode(payload)}.` : signToken(named, payload, own.privateKey)
      const verdict = await validator.identify(present(`Bearer ${token}`, now))
      return verdict instanceof Deny ? verdict.reason : verdict
    }
    const holds = (found: Principal | string, wanted: Members): void => {
      if (typeof found === 'string') assert.fail(found)
      for (const [member, value] of Object.entries(wanted)) assert.deepEqual(found[member as keyof Principal], value, member)
    }

    it('make a principal, from discovery over the key set', async () => {
      const found = await ask(expected.identity)
      holds(found, { ...expected.principal, issuer: issuer() })
      assert.equal((found as Principal).endUser, expected.principal['endUser'])
    })
    for (const variant of expected.also)
      it(`make one with ${variant.name}`, async () =>
        holds(await ask({ ...expected.identity, ...variant.identity }, variant), variant.principal))
    for (const variant of expected.rejects)
      it(`are told from ${variant.name}`, async () =>
        assert.equal(await ask(expected.identity, variant), variant.reason ?? 'invalid_credential'))
    it('are told from what nobody signed, and from what has expired', async () => {
      const past = Math.floor(Date.now() / 1000) - 61
      assert.equal(await ask(expected.identity, { claims: { exp: past } }), 'expired_credential')
      assert.equal(await ask(expected.identity, { header: { alg: 'none' } }), 'invalid_credential')
      assert.equal(await ask(expected.identity, { header: { kid: 'else' } }), 'invalid_credential')
      assert.equal(await ask(expected.identity, { header: { typ: 'logout+jwt' } }), 'invalid_credential')
      assert.equal(await ask(expected.identity, { claims: { aud: [] } }), 'invalid_credential')
    })
    it('have an issuer that lint knows, with its slash or without', () => {
      const { iss } = recorded.payload
      assert.equal(issuerWarning(iss, name), undefined)
      const other = iss.endsWith('/') ? iss.slice(0, -1) : `${iss}/`
      assert.equal(iss.endsWith('/'), expected.slash === 'always')
      const warning = issuerWarning(other, name)
      if (expected.slash === 'any') assert.equal(warning, undefined)
      else assert.match(warning ?? '', new RegExp(`${expected.slash === 'always' ? 'with' : 'without'} a "/" at the end.*write ${iss}$`))
    })
  })
}

describe('issuers that lint looks at', () => {
  const rows: [string, ProviderName | undefined, RegExp | undefined][] = [
    ['https://idp.example', undefined, undefined],
    ['https://idp.example/', undefined, /ends in "\/"/],
    ['https://acme.us.auth0.com', undefined, /Auth0 writes its issuer with a "\/"/],
    ['https://acme.us.auth0.com/', undefined, undefined],
    ['https://login.acme.example/', 'auth0', undefined],
    ['https://accounts.google.com/', undefined, /Google writes its issuer without a "\/"/],
    ['https://acme.okta.com', undefined, /does not look like an issuer of Okta: .*oauth2\/default/],
    ['https://login.microsoftonline.com/common/v2.0', undefined, /does not look like an issuer of Azure/],
    ['https://login.microsoftonline.com/8f5e3d2c-1b0a-4998-8776-655443322110/v2.0/', undefined, /without a "\/"/],
    ['https://sts.windows.net/8f5e3d2c-1b0a-4998-8776-655443322110', undefined, /Azure AD .* with a "\/"/],
    ['https://sts.windows.net/8f5e3d2c-1b0a-4998-8776-655443322110/', 'azure', undefined],
    ['https://sso.acme.example/auth/realms/acme', 'keycloak', undefined],
    ['https://sso.acme.example/acme', 'keycloak', /does not look like an issuer of Keycloak/],
    ['https://token.actions.githubusercontent.com/', undefined, /GitHub Actions writes its issuer without/],
    ['https://github.acme.example/_services/token', 'github-actions', undefined],
    ['https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF', 'kubernetes', undefined],
    ['https://westeurope.oic.prod-aks.azure.com/8f5e/1b0a', 'kubernetes', /Kubernetes writes its issuer with a "\/"/],
    ['https://westeurope.oic.prod-aks.azure.com/8f5e/1b0a/', 'kubernetes', undefined],
  ]
  for (const [issuer, provider, warning] of rows)
    it(`${issuer}${provider ? ` of ${provider}` : ''}: ${warning ? 'warned of' : 'taken'}`, () => {
      const found = issuerWarning(issuer, provider)
      if (warning) assert.match(found ?? '', warning)
      else assert.equal(found, undefined)
    })
})
