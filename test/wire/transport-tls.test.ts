import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ChannelCredentials, type Client, credentials, status } from '@grpc/grpc-js'
import { listenTls, type TlsFiles } from '../support/listen-tls.ts'
import { createAuthority, writePair } from './certificates.ts'
import { allow } from './support.ts'
import { checkPath, code, makeRig, openDoor, plain, transports, unary } from './transport-rig.ts'

const envoy = 'spiffe://cluster.local/ns/edge/sa/envoy'

for (const transport of transports) {
  describe(`the ${transport.name} transport over TLS`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-wire-'))
    const rig = makeRig(transport.start)

    afterEach(rig.clear)
    after(() => rmSync(folder, { recursive: true }))

    const authority = createAuthority('test ca')
    const caFile = join(folder, 'ca.crt')
    writeFileSync(caFile, authority.cert)
    const pair = writePair(folder, 'server', authority.issue('server', ['IP:127.0.0.1', 'DNS:localhost']))
    const mtls: TlsFiles = { mode: 'mtls', ...pair, ca: caFile, allow: [envoy] }
    const creds = (names?: readonly string[], by = authority): ChannelCredentials => {
      const client = names && by.issue('client', names)
      return credentials.createSsl(
        Buffer.from(authority.cert),
        client ? Buffer.from(client.key) : null,
        client ? Buffer.from(client.cert) : null,
      )
    }

    it('serves without client certificates in mode tls', async () => {
      const server = await rig.start('127.0.0.1:0', listenTls({ mode: 'tls', ...pair }))
      assert.equal(code(await unary(rig.dial(server, creds()), checkPath, plain)), 0)
      assert.equal(code(await unary(rig.dial(server), checkPath, plain, 500)), status.UNAVAILABLE)
    })

    it('serves the workloads on the list, and refuses all others on every method', async () => {
      let asked = 0
      rig.check = () => {
        asked++
        return allow
      }
      const server = await rig.start('127.0.0.1:0', listenTls(mtls))
      assert.equal(code(await unary(rig.dial(server, creds([`URI:${envoy}`])), checkPath, plain)), 0)
      assert.equal(asked, 1)
      const strangers = [
        ['URI:spiffe://cluster.local/ns/edge/sa/other'],
        ['DNS:localhost'],
        [`URI:${envoy}`, 'URI:spiffe://cluster.local/x'],
        [`DNS:a, URI:${envoy}`],
        [],
      ]
      for (const names of strangers) {
        const client = rig.dial(server, creds(names))
        for (const path of [checkPath, '/grpc.health.v1.Health/Check']) {
          assert.equal(code(await unary(client, path, plain)), status.PERMISSION_DENIED, names.join())
        }
      }
      assert.equal(asked, 1)
      assert(rig.faults.some((detail) => detail.includes('sa/other is not on the list')))
      for (const client of [rig.dial(server, creds()), rig.dial(server, creds([`URI:${envoy}`], createAuthority('test ca')))]) {
        assert.equal(code(await unary(client, checkPath, plain, 1000)), status.UNAVAILABLE)
      }
      assert.equal(asked, 1)
    })

    it('takes connections that another process accepts', async () => {
      const door = await openDoor()
      const server = await rig.start('127.0.0.1:0', listenTls(mtls), { sockets: door.sockets })
      assert.equal(code(await unary(rig.dial(server, creds([`URI:${envoy}`])), checkPath, plain)), 0)
      assert.equal(code(await unary(rig.dial(server, creds(['DNS:localhost'])), checkPath, plain)), status.PERMISSION_DENIED)
      assert.equal(code(await unary(rig.dial(server, creds()), checkPath, plain, 500)), status.UNAVAILABLE)
      await server.close(500)
      await door.close()
    })

    it('lets a call in flight end when it drains', async () => {
      let finish = (): void => {}
      rig.check = () =>
        new Promise((resolve) => {
          finish = () => resolve(allow)
        })
      const server = await rig.start('127.0.0.1:0', listenTls(mtls))
      const call = unary(rig.dial(server, creds([`URI:${envoy}`])), checkPath, plain, 5000)
      await new Promise((resolve) => setTimeout(resolve, 100))
      const closed = server.close(4000)
      await new Promise((resolve) => setTimeout(resolve, 50))
      finish()
      assert.equal(code(await call), 0)
      await closed
    })

    it('survives broken handshakes, and does not wait for them at the end', async () => {
      for (const tls of [mtls, { mode: 'none' }] as const) {
        const server = await rig.start('127.0.0.1:0', listenTls(tls))
        const { port } = server.address as { port: number }
        const sockets = ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00\x01', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff', ''].map(
          (text) => {
            const socket = connect(port, '127.0.0.1')
            socket.on('error', () => {})
            socket.write(text, 'latin1')
            return socket
          },
        )
        await new Promise((resolve) => setTimeout(resolve, 50))
        const identified = tls.mode === 'mtls' ? creds([`URI:${envoy}`]) : undefined
        assert.equal(code(await unary(rig.dial(server, identified), checkPath, plain)), 0)
        sockets[1]!.resetAndDestroy()
        const began = performance.now()
        await server.close(100)
        assert(performance.now() - began < 1000)
        for (const socket of sockets) socket.destroy()
      }
    })

    it('uses renewed certificates without a restart, and keeps the last good ones', async () => {
      const own = writePair(folder, 'renewed', authority.issue('server', ['DNS:localhost']))
      const server = await rig.start(
        '127.0.0.1:0',
        listenTls({ mode: 'tls', ...own }, { everyMs: 20, onFault: (detail) => rig.faults.push(detail) }),
      )
      assert.equal(code(await unary(rig.dial(server, creds()), checkPath, plain)), 0)
      const next = createAuthority('next ca')
      const trustsNext = (): Client => rig.dial(server, credentials.createSsl(Buffer.from(next.cert)))
      assert.equal(code(await unary(trustsNext(), checkPath, plain, 500)), status.UNAVAILABLE)
      const renewed = next.issue('server', ['DNS:localhost'])
      writeFileSync(own.cert, renewed.cert)
      while (rig.faults.every((detail) => !detail.includes('not reloaded'))) await new Promise((resolve) => setTimeout(resolve, 10))
      assert.equal(code(await unary(rig.dial(server, creds()), checkPath, plain)), 0)
      writeFileSync(own.key, renewed.key)
      for (let tries = 0; code(await unary(trustsNext(), checkPath, plain, 500)) !== 0; tries++) assert(tries < 20)
    })
  })
}
