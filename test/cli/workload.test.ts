import assert from 'node:assert/strict'
import { testCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { cli } from './captured.ts'

const manager = 'spiffe://cluster.local/ns/agents/sa/workloadmanager'

describe('postern, by the certificate of a workload', function () {
  this.timeout(30_000)

  it('shows the status while state does not answer, and says what a connection needs', async () => {
    const folder = temporaryFolder()
    const certificates = testCertificates(folder.path)
    const server = certificates.server('server')
    const { cert, key } = certificates.workload('manager', manager)
    const [port, redis] = [await freePort(), await freePort()]
    const policy = `version: 1
listen:
  check: { address: "unix:${folder.file('c.sock')}" }
  admin: { address: "127.0.0.1:${port}", tls: { mode: mtls, cert: ${server.cert}, key: ${server.key}, ca: ${certificates.ca}, allow: ["${manager}"] } }
state: redis://127.0.0.1:${redis}/0
admin: { secret: "a secret that nobody guesses, of 40 letters" }
issuer: { keys: { encryption_key: "${'ab'.repeat(32)}" } }
identity: []
routes: []
`
    const service = await startPostern(policy, { folder })
    const at = ['status', '--config', service.config]
    const shown = await cli([...at, '--cert', cert, '--key', key])
    assert.match(shown.out, /^state +redis, DOWN: Redis at 127\.0\.0\.1:\d+: ECONNREFUSED$/m)
    assert.equal(shown.code, 1, 'a service without keys is not ready')
    assert.match((await cli(at)).err, /asks for a client certificate/)
    assert.equal((await cli([...at, '--cert', cert])).code, 2)
    const byName = ['status', '--admin', `https://localhost:${port}`, '--cert', cert, '--key', key]
    assert.match((await cli(byName)).err, /not trusted here: name its CA by --ca/)
    // Keys are asked for once a second: that state is down is told when it begins, and not each time.
    const since = performance.now()
    await until('two more attempts', () => performance.now() - since > 2200)
    assert.equal(service.logs().filter(({ where }) => where === 'issuer').length, 1)
    assert.equal(await service.stop(), 0)
    folder.remove()
  })
})
