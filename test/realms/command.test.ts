import assert from 'node:assert/strict'
import { cli } from '../cli/captured.ts'
import { adminSecret } from '../support/admin.ts'
import { type RealmsRig, startRealms, tenant } from './rig.ts'

const broker = 'broker: { enabled: false }\n'

describe('the command line, where several realms are served', function () {
  this.timeout(30_000)
  let rig: RealmsRig
  before(async () => {
    rig = await startRealms({ 'acme.yaml': tenant('acme', broker), 'globex.yaml': tenant('globex', broker) })
  })
  after(() => rig?.stop())

  const run = (argv: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    cli(argv, { POSTERN_TEST_ADMIN_SECRET: adminSecret, ...env })
  const own = (realm: string, ...argv: string[]) => run([...argv, '-c', rig.postern.config, '--realm', realm])

  it('speaks to the realm that it is told', async () => {
    assert.equal((await own('acme', 'owner', 'set', 'sandbox', 's1', 'alice')).code, 0)
    assert.match((await own('acme', 'owner', 'get', 'sandbox', 's1')).out, /alice/)
    assert.doesNotMatch((await own('globex', 'owner', 'get', 'sandbox', 's1')).out, /alice/)
    const status = await own('globex', 'status', '--json')
    assert.equal((JSON.parse(status.out) as { realm: string }).realm, 'globex')
  })

  it('takes the realm from the URL, where there is no policy file', async () => {
    const elsewhere = ['-c', '/nowhere/postern.yaml', '--admin', `http://${rig.at.admin}/realms/acme`]
    const { code, out, err } = await run(['owner', 'get', 'sandbox', 's1', ...elsewhere], { POSTERN_ADMIN_SECRET: adminSecret })
    assert.equal(code, 0, err)
    assert.match(out, /alice/)
    const root = await run(['owner', 'get', 'sandbox', 's1', '-c', '/nowhere/postern.yaml', '--admin', `http://${rig.at.admin}`], {
      POSTERN_ADMIN_SECRET: adminSecret,
    })
    assert.equal(root.code, 1)
    assert.match(root.err, /those of a realm are at \/realms/)
  })

  it('puts the realm behind a URL that is given beside the policy file', async () => {
    const argv = ['owner', 'get', 'sandbox', 's1', '-c', rig.postern.config, '--realm', 'acme', '--admin', `http://${rig.at.admin}`]
    const { code, out, err } = await run(argv, { POSTERN_ADMIN_SECRET: adminSecret })
    assert.equal(code, 0, err)
    assert.match(out, /alice/)
  })

  it('mints tokens that only their realm takes', async () => {
    const { out } = await own('acme', 'token', 'mint', '--subject', 'alice', '--role', 'user', '--json')
    const { access_token: token } = JSON.parse(out) as { access_token: string }
    const reasons = await Promise.all(['acme', 'globex'].map(async (realm) => (await rig.ask({ extensions: { realm }, token })).reason))
    assert.deepEqual(reasons, ['ok', 'no_validator_admitted'])
  })
})
