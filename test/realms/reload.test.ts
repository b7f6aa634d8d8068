import assert from 'node:assert/strict'
import { renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../support/until.ts'
import { type RealmsRig, startRealms, tenant } from './rig.ts'

/** Design: a change is in force within a second. Machines that run many tests are given more. */
const soonMs = 3000

describe('the files of several realms, while they are served', function () {
  this.timeout(30_000)
  let rig: RealmsRig
  before(async () => {
    rig = await startRealms({ 'acme.yaml': tenant('acme'), 'globex.yaml': tenant('globex') })
  })
  after(() => rig?.stop())

  const reason = async (realm: string, path = `/v1/${realm}`) => (await rig.ask({ extensions: { realm }, path })).reason
  const revisionOf = async (realm: string) => {
    const page = await (await fetch(`http://${rig.at.admin}/metrics`)).text()
    return new RegExp(`postern_policy_info\\{realm="${realm}",revision="([0-9a-f]+)"\\}`).exec(page)?.[1]
  }
  const extra = (realm: string) => `  - { id: extra, path: /v1/extra-${realm}, public: true }\n`

  it('change one realm alone', async () => {
    const globex = await revisionOf('globex')
    rig.write('acme.yaml', tenant('acme', extra('acme')))
    await until('the change', async () => (await reason('acme', '/v1/extra-acme')) === 'ok', soonMs)
    assert.equal(await revisionOf('globex'), globex)
  })

  it('leave the last good policy in force where one is broken, and the others go on', async () => {
    rig.write('acme.yaml', 'version: 1\nrealm: acme\nroutes: [')
    await rig.postern.log('the refusal', ({ msg, realm }) => realm === 'acme' && /refused/.test(String(msg)))
    assert.deepEqual([await reason('acme', '/v1/extra-acme'), await reason('globex')], ['ok', 'ok'])
    rig.write('globex.yaml', tenant('globex', extra('globex')))
    await until('the change of the other', async () => (await reason('globex', '/v1/extra-globex')) === 'ok', soonMs)
    rig.write('acme.yaml', tenant('acme'))
    await until('the mended one', async () => (await reason('acme', '/v1/extra-acme')) === 'no_route', soonMs)
  })

  it('are one more realm, and one less, without a restart', async () => {
    assert.equal(await reason('initech'), 'no_route')
    rig.write('initech.yaml', tenant('initech'))
    await until('the realm to be served', async () => (await reason('initech')) === 'ok', soonMs)
    const admin = await rig.admin('initech')
    const { token } = await admin.mint({ subject: 'alice', roles: ['user'] })
    assert.equal((await rig.ask({ extensions: { realm: 'initech' }, token })).reason, 'ok')
    assert.equal((await fetch(`http://${rig.at.issuer}/realms/initech/jwks.json`)).status, 200)
    rig.remove('initech.yaml')
    await until('the realm to be gone', async () => (await reason('initech')) === 'no_route', soonMs)
    assert.equal((await fetch(`http://${rig.at.issuer}/realms/initech/jwks.json`)).status, 404)
    assert.equal((await fetch(`http://${rig.at.admin}/realms/initech/status`)).status, 404)
    assert.deepEqual([await reason('acme'), await reason('globex')], ['ok', 'ok'])
    rig.write('initech.yaml', tenant('initech'))
    await until('the realm to be served again', async () => (await reason('initech')) === 'ok', soonMs)
  })

  it('keep a realm whose file is put in place of itself', async () => {
    const admin = await rig.admin('acme')
    await admin.setOwner('sandbox', 'kept', 'alice')
    const { token } = await admin.mint({ subject: 'alice', roles: ['user'] })
    const kept = () => rig.ask({ extensions: { realm: 'acme' }, path: '/v1/sandboxes/kept', token })
    const file = join(dirname(rig.postern.config), 'tenants/acme.yaml')
    for (let turn = 0; turn < 3; turn++) {
      renameSync(file, `${file}~`)
      await sleep(50)
      renameSync(`${file}~`, file)
      await sleep(200)
      // State is in memory: a realm that had been closed and opened would know of no owner.
      assert.equal((await kept()).reason, 'ok')
    }
  })

  it('refuse a second file of one realm, and a realm that is renamed', async () => {
    rig.write('second.yaml', tenant('globex', extra('second')))
    await rig.postern.log('the refusal', ({ faults }) => JSON.stringify(faults ?? '').includes('is the realm of'))
    assert.equal(await reason('globex', '/v1/extra-second'), 'no_route')
    rig.remove('second.yaml')
    rig.write('globex.yaml', tenant('hooli'))
    await rig.postern.log('the refusal', ({ faults }) => JSON.stringify(faults ?? '').includes('a running service cannot follow'))
    assert.deepEqual([await reason('globex'), await reason('hooli')], ['ok', 'no_route'])
  })
})
