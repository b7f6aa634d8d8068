import assert from 'node:assert/strict'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { decodeJwt } from 'jose'
import { startProgram } from '../support/program.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type Admin, administrator, adminOf } from './admin.ts'
import { type AgentcubeEdge, startAgentcubeEdge } from './agentcube-edge.ts'
import { ask, isAllowed, isDenied } from './ask.ts'
import { logInByBrowser } from './browser.ts'
import { type Cloud, startCloud } from './cloud.ts'
import type { AccessToken, RunningKeycloak } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

const script = fileURLToPath(new URL('../../deploy/keycloak/add-broker.mjs', import.meta.url))
const folder = new URL('../../deploy/keycloak/brokers/', import.meta.url)
const brokers = readdirSync(folder).map((name) => name.replace('.json', ''))
/** Those that a realm of Keycloak can stand for, each in the cloud's own claims. */
const played = ['entra-oidc', 'google', 'aws-cognito', 'entra-saml'] as const

interface Provider {
  readonly alias: string
  readonly enabled: boolean
  readonly config: Readonly<Record<string, string>>
}

describe('people of a cloud', function () {
  this.timeout(60_000)
  let keycloak: RunningKeycloak
  let admin: Admin
  let cloud: Cloud
  let redis: RunningRedis
  let edge: AgentcubeEdge
  const files = temporaryFolder()

  before(async function () {
    this.timeout(180_000)
    keycloak = await sharedKeycloak()
    admin = await adminOf(keycloak)
    cloud = await startCloud(keycloak, admin, brokers)
    redis = await startRedis()
    edge = await startAgentcubeEdge(keycloak, redis)
  })
  after(async () => {
    await edge?.stop()
    await redis?.stop()
    files.remove()
  })

  const add = async (broker: string, env: Readonly<Record<string, string>> = cloud.environment) => {
    const program = startProgram(process.execPath, [script, '--url', keycloak.url, '--realm', 'agentcube', broker], {
      env: { ...env, ...administrator },
    })
    const { code } = await program.ended
    return { code, said: [...program.stdout, ...program.stderr].join('\n') }
  }
  const providers = async () => (await admin('GET', '/agentcube/identity-provider/instances')).body as Provider[]
  const mappers = async (alias: string) =>
    (await admin('GET', `/agentcube/identity-provider/instances/${alias}/mappers`)).body as { name: string; config: object }[]
  const logIn = async (username: string, broker: string): Promise<AccessToken> => {
    const token = await logInByBrowser(keycloak.issuer, { username, password: cloud.password }, broker)
    return { token, claims: decodeJwt(token) }
  }
  const rolesOf = ({ claims }: AccessToken) => (claims['realm_access'] as { roles: string[] } | undefined)?.roles.sort() ?? []
  /** The people that a broker brought are forgotten, so that another can bring them. */
  const forget = async () => {
    for (const { id, email } of (await admin('GET', '/agentcube/users?max=1000')).body as { id: string; email?: string }[])
      if (email?.endsWith('@cloud.example') === true) await admin('DELETE', `/agentcube/users/${id}`)
  }

  describe('each file of brokers/', () => {
    for (const broker of brokers) {
      it(`${broker}: is taken, twice with the same effect, and shows what Keycloak was told`, async () => {
        assert.deepEqual(await add(broker), { code: 0, said: `made ${broker} in agentcube` })
        const before = await mappers(broker)
        assert.deepEqual(await add(broker), { code: 0, said: `replaced ${broker} in agentcube` })
        const names = (list: { name: string }[]) => list.map(({ name }) => name).sort()
        assert.deepEqual(names(await mappers(broker)), names(before))
        const provider = (await providers()).find(({ alias }) => alias === broker)
        const { config } = (JSON.parse(readFileSync(new URL(`${broker}.json`, folder), 'utf8')) as { identityProviders: [Provider] })
          .identityProviders[0]
        for (const name of Object.keys(config)) assert.ok(provider?.config[name] !== undefined, `${name} is unknown to Keycloak`)
        assert.doesNotMatch(JSON.stringify(provider), /\$\{/)
      })

      it(`${broker}: is taken by Keycloak’s own partial import, too`, async () => {
        await admin('DELETE', `/agentcube/identity-provider/instances/${broker}`)
        const text = readFileSync(new URL(`${broker}.json`, folder), 'utf8')
        const filled = text.replace(/\$\{([A-Z_]+)\}/g, (_, name: string) => cloud.environment[name] ?? assert.fail(name))
        const { body } = await admin('POST', '/agentcube/partialImport', JSON.parse(filled) as unknown)
        const { identityProviderMappers } = JSON.parse(text) as { identityProviderMappers: unknown[] }
        assert.equal(body.added, 1 + identityProviderMappers.length)
      })
    }

    it('is refused where a place of it is not set', async () => {
      const { code, said } = await add('google', { ...cloud.environment, GOOGLE_DOMAIN: '' })
      assert.deepEqual([code, said], [1, 'GOOGLE_DOMAIN is not set (nor GOOGLE_DOMAIN_FILE)'])
    })
  })

  for (const broker of played) {
    describe(`by ${broker}`, () => {
      before(async () => {
        // The file as it is, but for the addresses of the cloud.
        const text = readFileSync(new URL(`${broker}.json`, folder), 'utf8')
        const document = JSON.parse(text) as { identityProviders: [Provider] }
        const [provider] = document.identityProviders
        const config = Object.fromEntries(Object.entries(provider.config).map(([name, value]) => [name, cloud.endpoints[name] ?? value]))
        const changed = { ...document, identityProviders: [{ ...provider, config }] }
        const file = files.file(`${broker}.json`)
        writeFileSync(file, JSON.stringify(changed))
        const { code, said } = await add(file)
        assert.equal(code, 0, said)
      })

      if (broker !== played[0])
        it('they get nobody’s account for having the same email address', async () => {
          await assert.rejects(logIn('wanda', broker), /already exists/)
          await forget()
        })

      it('they log in, have the roles that the cloud says, and Envoy lets them through', async () => {
        const wanda = await logIn('wanda', broker)
        const expected = broker === 'google' ? ['sandbox:invoke'] : ['sandbox:invoke', 'sandbox:manage']
        assert.deepEqual(rolesOf(wanda), expected)
        assert.equal(wanda.claims.iss, keycloak.issuer)
        const path = '/v1/namespaces/default/agent-runtimes/my-agent/invocations/'
        isAllowed(await ask(edge, { who: wanda, path }), { audience: 'picod', subject: wanda.claims.sub })
        const made = await ask(edge, { who: wanda, method: 'POST', path: '/v1/agent-runtime', body: { name: 'a', namespace: 'default' } })
        if (broker === 'google') isDenied(made, { status: 403, reason: 'missing_role' })
        else isAllowed(made, { audience: 'workloadmanager', subject: wanda.claims.sub })
      })

      it('are the same person at the next login', async () => {
        const [first, second] = [await logIn('ivan', broker), await logIn('ivan', broker)]
        assert.equal(first.claims.sub, second.claims.sub)
      })

      if (broker === 'entra-oidc')
        it('lose at the next login what the cloud took away', async () => {
          await cloud.setRoles('ivan', [])
          assert.deepEqual(rolesOf(await logIn('ivan', broker)), [])
          await cloud.setRoles('ivan', ['Sandbox.Admin'])
          assert.deepEqual(rolesOf(await logIn('ivan', broker)), ['admin', 'sandbox:invoke', 'sandbox:manage'])
          await cloud.setRoles('ivan', ['Sandbox.Invoke', 'agentcube-users'])
        })

      if (broker !== 'google')
        it('have no way in without a role', async () => {
          const norma = await logIn('norma', broker)
          assert.deepEqual(rolesOf(norma), [])
          const path = '/v1/namespaces/default/agent-runtimes/my-agent/invocations/'
          isDenied(await ask(edge, { who: norma, path }), { status: 403, reason: 'missing_role' })
        })

      if (broker === 'google' || broker === 'entra-oidc')
        it('are refused by Keycloak where they belong to another domain or tenant', async () => {
          const instance = `/agentcube/identity-provider/instances/${broker}`
          const { body: provider } = await admin('GET', instance)
          await admin('PUT', instance, { ...provider, config: { ...provider.config, claimFilterValue: 'another' } })
          await assert.rejects(logIn('wanda', broker), /Unexpected error|claim|not allowed|Invalid|We are sorry/i)
        })
    })
  }
})
