import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { allowList } from '../../src/core/allow-list.ts'
import { formatListenAddress, ListenFault, type ListenTls } from '../../src/wire/listener.ts'
import { noCertificates } from '../support/listen-tls.ts'
import { allow, decodeResponse } from './support.ts'
import { checkPath, code, type Failure, makeRig, openDoor, plain, transports, unary } from './transport-rig.ts'

const denial = (reply: Buffer | Failure): number | undefined => {
  assert(reply instanceof Buffer, `a gRPC error: ${(reply as Failure).details}`)
  return decodeResponse(reply).denied_response?.status?.code
}

for (const transport of transports) {
  describe(`the ${transport.name} transport`, () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-wire-'))
    const rig = makeRig(transport.start)

    afterEach(rig.clear)
    after(() => rmSync(folder, { recursive: true }))

    it('answers checks over TCP, and gives them the deadline', async () => {
      const given: number[] = []
      rig.check = (ms) => {
        given.push(ms)
        return allow
      }
      const client = rig.dial(await rig.start('127.0.0.1:0'))
      const reply = await unary(client, checkPath, plain)
      assert(reply instanceof Buffer)
      assert.equal(decodeResponse(reply).ok_response?.headers?.[0]?.header?.value, 'alice')
      assert.equal(denial(await unary(client, checkPath, plain, 1000)), undefined)
      assert.equal(given[0], 150)
      assert(given[1]! > 500 && given[1]! <= 750, `${given[1]}`)
    })

    it('answers an undecodable or too large message with a denial, never with a gRPC error', async () => {
      const client = rig.dial(await rig.start('127.0.0.1:0'))
      assert.equal(denial(await unary(client, checkPath, Buffer.from([0x0a, 0xff]), 5000)), 400)
      assert.equal(denial(await unary(client, checkPath, Buffer.alloc(64 * 1024 + 1), 5000)), 400)
      rig.check = () => Promise.reject(new Error('boom'))
      assert.equal(denial(await unary(client, checkPath, plain, 5000)), 500)
    })

    it('listens on a unix socket with mode 0660, and takes it away at the end', async () => {
      const path = join(folder, 'check.sock')
      const mask = process.umask(0)
      const server = await rig.start(`unix:${path}`).finally(() => process.umask(mask))
      assert.equal(statSync(path).mode & 0o777, 0o660)
      assert.equal(code(await unary(rig.dial(server), checkPath, plain)), 0)
      await server.close(200)
      assert.equal(existsSync(path), false)
    })

    it('replaces a socket where nobody answers', async () => {
      const path = join(folder, 'stale.sock')
      // A process that is killed leaves its socket behind.
      const dying = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
      spawnSync(process.execPath, ['-e', dying])
      assert(statSync(path).isSocket())
      assert.equal(code(await unary(rig.dial(await rig.start(`unix:${path}`)), checkPath, plain)), 0)
    })

    it('refuses unsafe and impossible binds with a sentence', async () => {
      const refused = async (address: string, pattern: RegExp, tls?: ListenTls): Promise<void> => {
        await assert.rejects(rig.start(address, tls), (cause) => {
          assert(cause instanceof ListenFault)
          assert.match(cause.message, pattern)
          return true
        })
      }
      await refused('0.0.0.0:0', /whoever reaches this port can forge identities/)
      await refused('0.0.0.0:0', /can forge/, { mode: 'tls', certificates: noCertificates })
      await refused('127.0.0.1:0', /needs allow/, { mode: 'mtls', certificates: noCertificates, allow: allowList([]) })
      const taken = await rig.start('127.0.0.1:0')
      await refused(formatListenAddress(taken.address), /another process listens there/)
      await refused(`unix:${folder}/no/such/check.sock`, /folder of the socket does not exist/)
      const file = join(folder, 'file')
      writeFileSync(file, 'x')
      await refused(`unix:${file}`, /is no socket/)
      assert.equal(statSync(file).size, 1)
      const live = join(folder, 'live.sock')
      await rig.start(`unix:${live}`)
      await refused(`unix:${live}`, /another process listens there/)
    })

    it('takes connections that another process accepts, and no more once it closes', async () => {
      const door = await openDoor()
      const server = await rig.start('127.0.0.1:0', undefined, { sockets: door.sockets })
      assert.deepEqual(server.address, door.sockets.address)
      const client = rig.dial(server)
      for (let round = 0; round < 3; round++) assert.equal(code(await unary(client, checkPath, plain)), 0)
      const began = performance.now()
      const closed = server.close(2000)
      assert.equal(door.taking(), false)
      await closed
      assert(performance.now() - began < 1500)
      await door.close()
    })

    it('leaves the port free for others at the end', async () => {
      const server = await rig.start('127.0.0.1:0')
      await server.close(100)
      const { port } = server.address as { port: number }
      const next = createServer()
      await new Promise<void>((resolve, reject) => next.once('error', reject).listen(port, '127.0.0.1', resolve))
      await new Promise((resolve) => next.close(resolve))
    })
  })
}
