import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { type ChannelCredentials, credentials, status } from '@grpc/grpc-js'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { openCertificateLoader } from '../../src/adapters/certificate-files.ts'
import { allowList, type ChangingAllowList } from '../../src/core/allow-list.ts'
import type { CertificateLoader } from '../../src/core/certificates.ts'
import type { ListenTls } from '../../src/wire/listener.ts'
import { listenTls } from '../support/listen-tls.ts'
import { until } from '../support/until.ts'
import { allow } from './support.ts'
import { checkPath, code, makeRig, plain, transports, unary } from './transport-rig.ts'

const envoy = 'spiffe://cluster.local/ns/edge/sa/envoy'
const other = 'spiffe://cluster.local/ns/edge/sa/other'
const authority = makeAuthority('one')
const next = makeAuthority('two')

for (const transport of transports) {
  describe(`connections with client certificates, ${transport.name}`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-peers-'))
    const rig = makeRig(transport.start)
    let loader: CertificateLoader
    let list: ChangingAllowList
    const file = (name: string): string => join(folder, name)

    beforeEach(() => {
      loader = openCertificateLoader({ everyMs: 20, settleMs: 5, shorterMs: 30 })
      list = allowList([envoy])
      bundle(authority)
      const { certificate, key } = issueCertificate(authority, { commonName: 'server', dns: ['localhost'] })
      writeFileSync(file('server.crt'), certificate)
      writeFileSync(file('server.key'), key, { mode: 0o600 })
    })
    afterEach(async () => {
      await rig.clear()
      loader.close()
    })
    after(() => rmSync(folder, { recursive: true }))

    const bundle = (...by: (typeof authority)[]): void => writeFileSync(file('ca.crt'), by.map(({ certificate }) => certificate).join(''))
    const tls = (): ListenTls =>
      listenTls({ mode: 'mtls', cert: file('server.crt'), key: file('server.key'), ca: file('ca.crt'), allow: list }, { loader })
    const as = (uri: string, by = authority, more: object = {}): ChannelCredentials => {
      const { certificate, key } = issueCertificate(by, { commonName: 'client', uri: [uri], ...more })
      return credentials.createSsl(Buffer.from(authority.certificate + next.certificate), Buffer.from(key), Buffer.from(certificate))
    }
    const peerTimes = { lookMs: 20, aheadMs: 600, graceMs: 300 }
    const start = () => rig.start('127.0.0.1:0', tls(), { peerTimes })

    it('are refused on open connections as soon as their peer is off the list, and served once it is on it again', async () => {
      const server = await start()
      const [first, second] = [rig.dial(server, as(envoy)), rig.dial(server, as(other))]
      const ask = async (): Promise<number[]> => [
        code(await unary(first, checkPath, plain, 2000)),
        code(await unary(second, checkPath, plain, 2000)),
      ]
      assert.deepEqual(await ask(), [0, status.PERMISSION_DENIED])
      list.replace([other])
      await until('the change', async () => JSON.stringify(await ask()) === JSON.stringify([status.PERMISSION_DENIED, 0]), 1000)
      for (let i = 0; i < 5; i++) assert.deepEqual(await ask(), [status.PERMISSION_DENIED, 0])
      list.replace([envoy, other])
      await until('the change', async () => JSON.stringify(await ask()) === JSON.stringify([0, 0]), 1000)
    })

    it('get no answer to what they asked before they were taken off the list', async () => {
      let finish = (): void => {}
      rig.check = () =>
        new Promise((resolve) => {
          finish = () => resolve(allow)
        })
      const server = await start()
      const asked = unary(rig.dial(server, as(envoy)), checkPath, plain, 3000)
      await sleep(150)
      list.replace([other])
      finish()
      assert.equal(code(await asked), status.UNAVAILABLE)
    })

    it('stay open while others come onto the list, and over renewed certificates and authorities', async () => {
      const server = await start()
      const client = rig.dial(server, as(envoy))
      assert.equal(code(await unary(client, checkPath, plain)), 0)
      // Calls go on without an error from one change to the next.
      let calls = 0
      let stop = false
      const calling = (async () => {
        while (!stop) {
          assert.equal(code(await unary(client, checkPath, plain, 2000)), 0)
          calls++
        }
      })()
      list.replace([envoy, other])
      bundle(authority, next)
      await until('the new authority', () => loader.states()[0]?.set?.authorities?.count === 2, 2000)
      assert.equal(code(await unary(rig.dial(server, as(envoy, next)), checkPath, plain, 2000)), 0)
      stop = true
      await calling
      assert.ok(calls > 0)
    })

    it('end when the authority of their peer is taken away: who is vouched for comes again, and nobody else', async () => {
      bundle(authority, next)
      const server = await start()
      const [old, young] = [rig.dial(server, as(envoy)), rig.dial(server, as(envoy, next))]
      assert.deepEqual([code(await unary(old, checkPath, plain)), code(await unary(young, checkPath, plain))], [0, 0])
      bundle(next)
      const refused = () => unary(old, checkPath, plain, 500).then((reply) => code(reply) !== 0)
      await until('the old authority to be gone', refused, 3000)
      for (let i = 0; i < 5; i++) assert.notEqual(code(await unary(old, checkPath, plain, 300)), 0)
      assert.equal(code(await unary(young, checkPath, plain, 3000)), 0)
    })

    it('end with the certificate of their peer', async () => {
      const server = await start()
      const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000)
      const client = rig.dial(server, as(envoy, authority, { notBefore: new Date(Date.now() - 60_000), notAfter }))
      assert.equal(code(await unary(client, checkPath, plain)), 0)
      while (Date.now() < notAfter.getTime() - 800) {
        assert.equal(code(await unary(client, checkPath, plain, 500)), 0)
        await sleep(20)
      }
      await sleep(notAfter.getTime() + 100 - Date.now())
      for (let i = 0; i < 5; i++) assert.notEqual(code(await unary(client, checkPath, plain, 300)), 0, 'after it has expired')
    })

    it('do not begin with a session of a certificate that has expired since', async () => {
      const server = await start()
      const { port } = server.address as { port: number }
      const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000)
      const { certificate, key } = issueCertificate(authority, { commonName: 'client', uri: [envoy], notAfter })
      const settings = {
        host: '127.0.0.1',
        port,
        ca: authority.certificate,
        cert: certificate,
        key,
        servername: 'localhost',
        ALPNProtocols: ['h2'],
      }
      let session: Buffer | undefined
      /** Whether the server says anything: its SETTINGS come first. */
      const heard = (given?: Buffer): Promise<{ heard: boolean; reused: boolean }> =>
        new Promise((resolve) => {
          const socket = connect({ ...settings, ...(given && { session: given }) })
          socket.on('session', (one: Buffer) => {
            session = one
          })
          socket.once('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00', 'latin1'))
          socket.once('data', () => {
            resolve({ heard: true, reused: socket.isSessionReused() })
            setTimeout(() => socket.destroy(), 20)
          })
          socket.on('error', () => {})
          socket.once('close', () => resolve({ heard: false, reused: socket.isSessionReused() }))
        })
      assert.deepEqual(await heard(), { heard: true, reused: false })
      await until('a session', () => session !== undefined, 1000)
      const before = session
      assert.deepEqual(await heard(before), { heard: true, reused: true })
      await sleep(notAfter.getTime() + 50 - Date.now())
      assert.equal((await heard(before)).heard, false)
      assert.match(rig.faults.join(), /a session was resumed with a client certificate that has expired|a TLS handshake failed/)
      assert.equal((await heard()).heard, false)
    })
  })
}
