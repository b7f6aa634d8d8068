import assert from 'node:assert/strict'
import { type AdminClient, adminSecret } from '../support/admin.ts'
import { until } from '../support/until.ts'
import { type RealmsRig, startRealms, tenant } from './rig.ts'

const realms = ['acme', 'globex'] as const
type Name = (typeof realms)[number]

/** State that the realms share, and the processes that answer checks. */
const kinds: Readonly<Record<string, readonly [state: string, more: string]>> = {
  'in memory': ['"memory:"', ''],
  'in a file, with two workers': ['"file:./postern.db"', 'workers: 2\n'],
}

for (const [kind, [state, more]] of Object.entries(kinds)) {
  describe(`two realms ${kind}`, function () {
    this.timeout(40_000)
    let rig: RealmsRig
    let admin: Readonly<Record<Name, AdminClient>>
    before(async () => {
      rig = await startRealms({ 'acme.yaml': tenant('acme'), 'globex.yaml': tenant('globex') }, state, more)
      admin = { acme: await rig.admin('acme'), globex: await rig.admin('globex') }
    })
    after(() => rig?.stop())

    const token = async (realm: Name, subject: string) => (await admin[realm].mint({ subject, roles: ['user'] })).token
    const ask = async (realm: Name, presented: string, path = '/v1/any') =>
      (await rig.ask({ extensions: { realm }, path, token: presented })).reason

    it('refuse tokens of each other', async () => {
      for (const realm of realms) {
        const minted = await token(realm, 'alice')
        assert.deepEqual(
          await Promise.all(realms.map((one) => ask(one, minted))),
          realms.map((one) => (one === realm ? 'ok' : 'no_validator_admitted')),
        )
      }
    })

    it('have owners apart: the same subject, and the same resource', async () => {
      const alice = { acme: await token('acme', 'alice'), globex: await token('globex', 'alice') }
      await admin.acme.setOwner('sandbox', 's1', 'alice')
      await until('the owner to be known', async () => (await ask('acme', alice.acme, '/v1/sandboxes/s1')) === 'ok')
      assert.equal(await ask('globex', alice.globex, '/v1/sandboxes/s1'), 'not_owner')
      await admin.globex.setOwner('sandbox', 's1', 'bob')
      await until('the other owner', async () => (await ask('globex', await token('globex', 'bob'), '/v1/sandboxes/s1')) === 'ok')
      assert.equal(await ask('acme', alice.acme, '/v1/sandboxes/s1'), 'ok')
      assert.equal(await ask('globex', alice.globex, '/v1/sandboxes/s1'), 'not_owner')
    })

    it('have revocations apart', async () => {
      const carol = { acme: await token('acme', 'carol'), globex: await token('globex', 'carol') }
      await admin.acme.revoke('subject', 'carol')
      await until('the revocation to be in force', async () => (await ask('acme', carol.acme)) === 'revoked')
      assert.equal(await ask('globex', carol.globex), 'ok')
    })

    it('have API keys apart', async () => {
      const made = await admin.acme.call('POST', '/v1/api-keys', { validator: 'partners', role: 'user', owner: 'partner', name: 'p' })
      const { key } = (await made.json()) as { key: string }
      assert.equal(made.status, 201, key)
      await until('the key to be known', async () => (await ask('acme', key)) === 'ok')
      assert.equal(await ask('globex', key), 'invalid_credential')
      const others = (await (await admin.globex.call('GET', '/v1/api-keys')).json()) as object
      assert.doesNotMatch(JSON.stringify(others), /partner"/)
    })

    it('have audit trails apart', async () => {
      await admin.globex.setOwner('sandbox', 'only-in-globex', 'dave')
      const events = async (realm: Name) => JSON.stringify(await (await admin[realm].call('GET', '/v1/audit/events?limit=500')).json())
      await until('the event', async () => (await events('globex')).includes('only-in-globex'))
      const acme = await events('acme')
      assert.doesNotMatch(acme, /only-in-globex|"globex"/)
    })

    it('have admin tokens apart, and a status of the process that shows whoever asks their own', async () => {
      const of = (realm: Name) => ({ headers: { authorization: `Bearer ${bearers[realm]}` } })
      const bearers = { acme: '', globex: '' }
      for (const realm of realms) bearers[realm] = await adminToken(rig, realm)
      const get = (path: string, realm: Name) => fetch(`http://${rig.at.admin}${path}`, of(realm))
      for (const path of ['/status', '/v1/audit/events', '/v1/api-keys', '/v1/resources/sandbox/s1/labels']) {
        assert.equal((await get(`/realms/acme${path}`, 'acme')).status, 200, path)
        assert.equal((await get(`/realms/globex${path}`, 'acme')).status, 401, path)
      }
      const shown = (await (await get('/status', 'acme')).json()) as { ready: boolean; realms: Record<string, { realm: string }> }
      assert.deepEqual([shown.ready, Object.keys(shown.realms), shown.realms['acme']?.realm], [true, ['acme'], 'acme'])
      assert.equal((await fetch(`http://${rig.at.admin}/status`)).status, 401)
    })

    it('have keys apart', async () => {
      const kids = async (realm: Name) => {
        const { keys } = (await (await fetch(`http://${rig.at.issuer}/realms/${realm}/jwks.json`)).json()) as { keys: { kid: string }[] }
        return keys.map(({ kid }) => kid)
      }
      const [acme, globex] = [await kids('acme'), await kids('globex')]
      assert.ok(acme.length > 0 && globex.length > 0)
      assert.equal(
        acme.some((kid) => globex.includes(kid)),
        false,
      )
    })

    it('are counted apart, on one page; that of a realm shows nothing of the other', async () => {
      const page = async (path: string) => (await fetch(`http://${rig.at.admin}${path}`)).text()
      const all = await page('/metrics')
      for (const realm of realms) {
        assert.match(all, new RegExp(`postern_checks_total\\{route="${realm}-any",reason="ok",decision="allow",realm="${realm}"\\} [1-9]`))
        assert.match(all, new RegExp(`postern_policy_info\\{realm="${realm}",`))
      }
      assert.match(all, /^postern_build_info\{version="[^"]+"\} 1$/m)
      const own = await page('/realms/acme/metrics')
      assert.match(own, /postern_checks_total\{route="acme-any"/)
      assert.doesNotMatch(own, /globex/)
    })

    it('are told by the log, each line with its realm', async () => {
      await rig.ask({ extensions: { realm: 'acme' }, path: '/v1/nowhere' })
      await rig.ask({ extensions: { realm: 'initech' }, path: '/v1/any' })
      const line = await rig.postern.log('the denial', ({ path, reason }) => path === '/v1/nowhere' && reason === 'no_route')
      assert.equal(line['realm'], 'acme')
    })
  })
}

async function adminToken({ at }: RealmsRig, realm: Name): Promise<string> {
  const login = await fetch(`http://${at.admin}/realms/${realm}/v1/admin/auth`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ secret: adminSecret }),
  })
  return ((await login.json()) as { access_token: string }).access_token
}
