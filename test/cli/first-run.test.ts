import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { cli } from './captured.ts'

const envoyAdmin = '\nadmin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n'

describe('the first run that postern init writes, through the real Envoy', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let service: RunningPostern | undefined
  let envoy: RunningEnvoy | undefined

  before(async () => {
    folder = temporaryFolder()
    assert.equal((await cli(['init', '--dir', folder.path])).code, 0)
    const policy = readFileSync(folder.file('postern.yaml'), 'utf8')
    service = await startPostern(policy.replace(':9192', `:${await freePort()}`).replace(':9193', `:${await freePort()}`), { folder })
    const upstream = await freePort()
    const text = readFileSync(folder.file('envoy.yaml'), 'utf8').replace('port_value: 10000', 'port_value: 0')
    envoy = await startEnvoy(text.replaceAll('port_value: 10001', `port_value: ${upstream}`) + envoyAdmin)
  })
  after(async () => {
    await envoy?.stop()
    await service?.stop()
    folder.remove()
  })

  it('lets the owner through with her identity, and nobody else', async () => {
    const at = ['--config', service!.config]
    assert.equal((await cli(['owner', 'set', 'sandbox', 's1', 'alice', ...at])).code, 0)
    const get = async (subject: string | undefined): Promise<Response> => {
      const token = subject && (await cli(['token', 'mint', '--subject', subject, '--role', 'sandbox:invoke', ...at])).out.trim()
      const headers = { 'x-postern-subject': 'forged', ...(token ? { authorization: `Bearer ${token}` } : {}) }
      return fetch(`http://127.0.0.1:${envoy!.port('edge')}/v1/sandboxes/s1/hello`, { headers })
    }
    const alice = await get('alice')
    assert.deepEqual([alice.status, await alice.text(), alice.headers.get('x-seen-subject')], [200, 'hello from the upstream\n', 'alice'])
    const bob = await get('bob')
    assert.deepEqual([bob.status, ((await bob.json()) as { reason: string }).reason], [403, 'not_owner'])
    assert.equal((await get(undefined)).status, 401)
    assert.equal((await fetch(`http://127.0.0.1:${envoy!.port('edge')}/healthz`)).status, 200)
    await envoy!.logLine({ reason: 'not_owner', subject: 'bob', decision: 'deny' })
    await envoy!.logLine({ reason: 'ok', subject: 'alice', owner_match: 'yes' })
  })
})
