import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { connect } from 'node:http2'
import { credentials } from '@grpc/grpc-js'
import { type Certificates, type Identity, testCertificates } from '../support/certificates.ts'
import { type Edge, fixture, startEdge } from '../support/edge.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { request } from '../support/request.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { openAsker } from './asker.ts'

const allowed = 'spiffe://cluster.local/ns/edge/sa/envoy'

for (const transport of ['lean', 'grpc-js'] as const) {
  describe(`connections handed to workers over TCP with mTLS, ${transport}`, function () {
    this.timeout(30_000)
    let folder: TemporaryFolder
    let certificates: Certificates
    let envoy: Identity
    let stranger: Identity
    let postern: RunningPostern
    let address = ''

    before(async () => {
      folder = temporaryFolder()
      certificates = testCertificates(folder.path)
      certificates.server('postern', { dns: ['postern'] })
      envoy = certificates.workload('envoy', allowed)
      stranger = certificates.workload('stranger', 'spiffe://cluster.local/ns/other/sa/stranger')
      address = `127.0.0.1:${await freePort()}`
      const tls = `mode: mtls, cert: ${folder.file('postern.crt')}, key: ${folder.file('postern.key')}, ca: ${folder.file('ca.crt')}`
      postern = await startPostern(
        `version: 1
listen:
  check: { address: "${address}", transport: ${transport}, tls: { ${tls}, allow: ["${allowed}"] } }
state: "file:${folder.file('postern.db')}"
workers: 2
log: { decisions: all }
identity:
  - { name: users, type: oidc, issuer: http://127.0.0.1:1/realm, audience: [router], verified_by: envoy, metadata_key: users }
routes:
  - { id: health, path: /healthz, public: true }
`,
        { folder },
      )
    })
    after(async () => {
      await postern?.stop()
      folder.remove()
    })

    const channel = ({ certPem, keyPem }: Identity) =>
      credentials.createSsl(Buffer.from(certificates.caPem), Buffer.from(keyPem), Buffer.from(certPem))

    it('serves whom the list names, on both workers, and refuses everybody else', async () => {
      for (let i = 0; i < 4; i++) {
        const asker = openAsker(address, channel(envoy))
        assert.equal(await asker.ask('/healthz'), 'ok')
        if (i > 1) asker.close()
      }
      const workers = () => new Set(postern.logs().flatMap(({ msg, worker }) => (msg === 'check' ? [worker] : [])))
      assert.deepEqual([...workers()].sort(), [1, 2])
      const refused = openAsker(address, channel(stranger))
      await assert.rejects(refused.ask('/healthz'), { code: 7 })
      refused.close()
      await postern.log(
        'the refused peer',
        ({ msg, detail }) => msg === 'listener' && String(detail).includes('sa/stranger is not on the list'),
      )
      const plain = connect(`http://${address}`)
      await new Promise<void>((done) => plain.on('error', () => {}).on('close', () => done()))
    })

    it('goes on in a worker that replaces another', async () => {
      const line = postern.logs().find(({ msg }) => msg === 'worker serving')
      assert.equal(line?.['check'], address)
      const [pid] = readFileSync(`/proc/${postern.program.pid}/task/${postern.program.pid}/children`, 'utf8').trim().split(' ')
      process.kill(Number(pid), 'SIGKILL')
      await postern.log('the end of a worker', ({ msg }) => msg === 'a worker has ended')
      const asker = openAsker(address, channel(envoy))
      assert.equal(await asker.ask('/healthz'), 'ok')
      asker.close()
    })
  })
}

describe('workers behind Envoy over TCP with mTLS', function () {
  this.timeout(30_000)
  let edge: Edge
  before(async () => {
    const policy = fixture('edge-tcp-mtls.yaml').replace(
      'state: "memory:"',
      'state: "file:@folder@/postern.db"\nworkers: 2\nlog: { decisions: all }',
    )
    edge = await startEdge('tcp-mtls.yaml', policy, (filled) => startPostern(filled), 2)
  })
  after(() => edge?.stop())

  it('decide on both', async () => {
    const statuses = await Promise.all(
      Array.from({ length: 40 }, async () => (await request({ port: edge.port, path: '/healthz', tls: edge.tls() })).status),
    )
    assert.deepEqual([...new Set(statuses)], [200])
    const workers = new Set(edge.postern.logs().flatMap(({ msg, worker }) => (msg === 'check' ? [worker] : [])))
    assert.deepEqual([...workers].sort(), [1, 2])
  })
})
