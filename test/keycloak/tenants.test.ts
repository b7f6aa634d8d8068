import assert from 'node:assert/strict'
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { type Admin, administrator, adminOf } from './admin.ts'
import type { RunningKeycloak } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'
import { type Reply, startTenantsEdge, type TenantsEdge } from './tenants-edge.ts'

const script = fileURLToPath(new URL('../../deploy/keycloak/add-tenant.mjs', import.meta.url))
const tenants = ['acme', 'globex'] as const
type Tenant = (typeof tenants)[number]

describe('tenants: a realm each', function () {
  this.timeout(60_000)
  let keycloak: RunningKeycloak
  let admin: Admin
  let folder: TemporaryFolder

  const addTenant = async (realm: string, env: Readonly<Record<string, string>> = administrator, url = keycloak.url) => {
    const args = ['--url', url, '--realm', realm, '--secrets', folder.file('secrets'), '--policies', folder.file('tenants')]
    const program = startProgram(process.execPath, [script, ...args], { env })
    const { code } = await program.ended
    return { code, said: [...program.stdout, ...program.stderr] }
  }
  const secretFile = (realm: string, client: string) => folder.file(`secrets/${realm}-${client}`)
  const secret = (realm: string, client: string) => readFileSync(secretFile(realm, client), 'utf8').trim()
  const issuer = (realm: string) => `${keycloak.url}/realms/${realm}`
  /** The token of a tenant's program, with the secret that the script wrote. */
  const login = async (realm: Tenant): Promise<string> => {
    const authorization = `Basic ${Buffer.from(`agentcube-sdk:${secret(realm, 'agentcube-sdk')}`).toString('base64')}`
    const body = new URLSearchParams({ grant_type: 'client_credentials' })
    const response = await fetch(`${issuer(realm)}/protocol/openid-connect/token`, { method: 'POST', headers: { authorization }, body })
    const { access_token: token } = (await response.json()) as { access_token?: string }
    assert.ok(token, `${realm}: ${response.status}`)
    return token
  }
  /** As an upstream of this tenant does. */
  const verify = async ({ status, reason, seen }: Reply, realm: Tenant, audience: string): Promise<void> => {
    assert.ok(seen, `${status} ${reason}`)
    const keys = createRemoteJWKSet(new URL(`${issuer(realm)}/protocol/openid-connect/certs`))
    const { payload } = await jwtVerify(seen.token, keys, { issuer: issuer(realm), audience, requiredClaims: ['sub', 'exp'] })
    assert.equal(payload.aud, audience)
    assert.equal(payload.sub, seen.headers['x-postern-subject'])
  }

  before(async function () {
    this.timeout(180_000)
    folder = temporaryFolder()
    keycloak = await sharedKeycloak()
    admin = await adminOf(keycloak)
    for (const realm of tenants) {
      const { code, said } = await addTenant(realm)
      assert.equal(code, 0, said.join('\n'))
    }
    // acme's program may reach every sandbox; globex's, what is its own.
    const [user] = (await admin('GET', '/acme/users?exact=true&username=service-account-agentcube-sdk')).body as { id: string }[]
    const { body: role } = await admin('GET', '/acme/roles/admin')
    await admin('POST', `/acme/users/${user?.id}/role-mappings/realm`, [role])
  })
  after(() => folder.remove())

  describe('add-tenant.mjs', () => {
    it('writes random secrets that only their owner reads, another for each client and tenant', () => {
      const secrets = tenants.flatMap((realm) => ['agentcube-sdk', 'agentcube-router'].map((client) => secret(realm, client)))
      assert.equal(new Set(secrets).size, 4)
      for (const one of secrets) assert.match(one, /^[\w-]{43}$/)
      for (const realm of tenants) assert.equal(statSync(secretFile(realm, 'agentcube-router')).mode & 0o777, 0o600)
    })

    it('changes nothing the second time, and leaves the policy to the operator', async () => {
      const policy = folder.file('tenants/acme.yaml')
      const [before, text] = [secret('acme', 'agentcube-sdk'), readFileSync(policy, 'utf8')]
      writeFileSync(policy, `${text}# the operator's own\n`)
      assert.deepEqual(await addTenant('acme'), { code: 0, said: ['the realm acme is there', `left ${policy} as it is`] })
      assert.equal(secret('acme', 'agentcube-sdk'), before)
      assert.match(readFileSync(policy, 'utf8'), /the operator's own/)
      await login('acme')
    })

    it('puts back the secret of its file, and the rule that exchanges only narrow', async () => {
      const [client] = (await admin('GET', '/globex/clients?clientId=agentcube-sdk')).body as { id: string }[]
      await admin('POST', `/globex/clients/${client?.id}/client-secret`)
      await admin('PUT', '/globex/client-policies/policies', { policies: [] })
      await assert.rejects(login('globex'))
      const { said } = await addTenant('globex')
      assert.ok(said.includes('set the secret of agentcube-sdk in Keycloak'), said.join('\n'))
      await login('globex')
      const { policies } = (await admin('GET', '/globex/client-policies/policies')).body as { policies: { profiles: string[] }[] }
      assert.deepEqual(
        policies.map(({ profiles }) => profiles),
        [['exchange-narrows']],
      )
    })

    it('needs no administrator of everything: a client with create-realm will do', async () => {
      const client = { clientId: 'tenants', secret: 'secret-of-tenants', serviceAccountsEnabled: true, standardFlowEnabled: false }
      await admin('POST', '/master/clients', client)
      const [user] = (await admin('GET', '/master/users?exact=true&username=service-account-tenants')).body as { id: string }[]
      const { body: role } = await admin('GET', '/master/roles/create-realm')
      await admin('POST', `/master/users/${user?.id}/role-mappings/realm`, [role])
      const own = { KEYCLOAK_ADMIN_CLIENT_ID: 'tenants', KEYCLOAK_ADMIN_CLIENT_SECRET: 'secret-of-tenants' }
      const made = await addTenant('umbrella', own)
      assert.deepEqual([made.code, made.said.includes('made the realm umbrella')], [0, true], made.said.join('\n'))
      const again = await addTenant('umbrella', own)
      assert.deepEqual([again.code, again.said[0]], [0, 'the realm umbrella is there'], again.said.join('\n'))
      const other = await addTenant('acme', own)
      assert.equal(other.code, 1)
      assert.match(other.said.join('\n'), /403/)
      // Its policy would be served beside the others' below.
      rmSync(folder.file('tenants/umbrella.yaml'))
    })

    const refusals: readonly [what: string, realm: string, env: Readonly<Record<string, string>>, url: string | undefined, said: RegExp][] =
      [
        [
          'a realm that is none of its own',
          'foreign',
          administrator,
          undefined,
          /has no client agentcube-sdk: it was not made by this script/,
        ],
        ['the master realm', 'master', administrator, undefined, /other than master/],
        ['a name that would leave its folder', '../x', administrator, undefined, /small letters, digits and dashes/],
        ['a wrong password', 'other', { ...administrator, KEYCLOAK_ADMIN_PASSWORD: 'wrong' }, undefined, /refused the administrator \(40/],
        ['no administrator', 'other', {}, undefined, /no administrator: set KEYCLOAK_ADMIN_CLIENT_ID/],
        ['a Keycloak in the clear', 'other', administrator, 'http://keycloak.example', /must be https, or http on loopback/],
        ['no Keycloak', 'other', administrator, 'http://127.0.0.1:1', /cannot be reached/],
      ]
    for (const [what, realm, env, url, said] of refusals)
      it(`refuses ${what}, in one sentence`, async () => {
        if (realm === 'foreign') await admin('POST', '', { realm, enabled: true })
        const answer = await addTenant(realm, env, url ?? keycloak.url)
        assert.equal(answer.code, 1)
        assert.match(answer.said.join('\n'), said)
        assert.doesNotMatch(answer.said.join('\n'), /\n {4}at /)
      })
  })

  /** What must hold where each tenant has a host of its own. */
  const apart = (edgeOf: (realm: Tenant) => TenantsEdge, hostOf: (realm: Tenant) => string) => {
    it('each tenant’s program gets in at its own host, and upstreams get tokens that its realm signed', async () => {
      for (const realm of tenants) {
        const reply = await edgeOf(realm).ask(hostOf(realm), await login(realm), '/v1/sandboxes', 'POST')
        await verify(reply, realm, 'workloadmanager')
        assert.equal(reply.seen?.headers['x-postern-issuer'], issuer(realm))
      }
    })

    it('and at no other', async () => {
      for (const [realm, other] of [tenants, [...tenants].reverse() as [Tenant, Tenant]]) {
        const { status, reason } = await edgeOf(other).ask(hostOf(other), await login(realm), '/v1/sandboxes', 'POST')
        // Its `iss` is none that a validator of this realm knows.
        assert.deepEqual([status, reason], [401, 'no_validator_admitted'])
      }
    })

    it('an admin of one is nobody in the other', async () => {
      const path = '/v1/sandboxes/s1/run'
      await verify(await edgeOf('acme').ask(hostOf('acme'), await login('acme'), path), 'acme', 'picod')
      const { status, reason } = await edgeOf('globex').ask(hostOf('globex'), await login('globex'), path)
      assert.deepEqual([status, reason], [403, 'not_owner'])
    })
  }

  describe('in two processes of one policy, by --realm', () => {
    const edges = new Map<Tenant, TenantsEdge>()
    before(async () => {
      const text = readFileSync(folder.file('tenants/acme.yaml'), 'utf8').replaceAll(
        secretFile('acme', 'agentcube-router'),
        folder.file('secrets/@realm@-agentcube-router'),
      )
      const common = 'listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }\nstate: "memory:"\n'
      for (const realm of tenants) {
        // The file says acme; only the secret's name has to differ.
        const policy = text.replaceAll('@realm@', realm).replace('version: 1\n', `version: 1\n${common}`)
        edges.set(realm, await startTenantsEdge(folder, `${realm}.yaml`, policy, ['--realm', realm], { [`${realm}.example`]: realm }))
      }
    })
    after(async () => {
      for (const edge of edges.values()) await edge.stop()
    })

    apart(
      (realm) => edges.get(realm)!,
      (realm) => `${realm}.example`,
    )
  })

  describe('in one process, with the files that the script wrote', () => {
    let edge: TenantsEdge
    before(async () => {
      const policy =
        'version: 1\nlisten: { check: { address: "@check@" }, admin: { address: "@admin@" } }\nstate: "memory:"\nrealms: [tenants/*.yaml]\n'
      const hosts = { 'acme.example': 'acme', 'globex.example': 'globex', 'initech.example': 'initech', 'plain.example': undefined }
      edge = await startTenantsEdge(folder, 'main.yaml', policy, [], hosts)
    })
    after(() => edge?.stop())

    apart(
      () => edge,
      (realm) => `${realm}.example`,
    )

    it('a host of no realm, or of an unknown one, has no route', async () => {
      for (const host of ['initech.example', 'plain.example']) {
        const { status, reason } = await edge.ask(host, await login('acme'), '/v1/sandboxes', 'POST')
        assert.deepEqual([status, reason], [403, 'no_route'])
      }
    })
  })
})
