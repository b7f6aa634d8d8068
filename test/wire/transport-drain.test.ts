import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { type Client, status } from '@grpc/grpc-js'
import type { Answer } from '../../src/core/answer.ts'
import { servedProtos } from '../../src/wire/protos.ts'
import { allow } from './support.ts'
import { asIs, checkPath, code, makeRig, plain, transports, unary } from './transport-rig.ts'

for (const transport of transports) {
  describe(`the ${transport.name} transport beside checks`, () => {
    const rig = makeRig(transport.start)

    afterEach(rig.clear)

    const { definition } = servedProtos()
    const health = definition['grpc.health.v1.Health'] as unknown as Record<
      string,
      { path: string; requestSerialize: (v: object) => Buffer; responseDeserialize: (b: Buffer) => { status?: number } }
    >
    const healthOf = async (client: Client, service: string): Promise<number | undefined> => {
      const reply = await unary(client, health['Check']!.path, health['Check']!.requestSerialize({ service }))
      return 'details' in reply ? -reply.code : health['Check']!.responseDeserialize(reply).status
    }

    it('tells its health', async () => {
      const server = await rig.start('127.0.0.1:0')
      const client = rig.dial(server)
      for (const service of ['', 'envoy.service.auth.v3.Authorization']) assert.equal(await healthOf(client, service), 1)
      assert.equal(await healthOf(client, 'other'), -status.NOT_FOUND)
      server.serving(false)
      assert.equal(await healthOf(client, ''), 2)
    })

    it('says UNIMPLEMENTED for what it does not know', async () => {
      const client = rig.dial(await rig.start('127.0.0.1:0'))
      assert.equal(code(await unary(client, '/envoy.service.auth.v3.Authorization/Other', plain)), status.UNIMPLEMENTED)
      assert.equal(code(await unary(client, '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', plain)), status.UNIMPLEMENTED)
    })

    it('drains: a call in flight ends well, and nobody new gets in', async () => {
      let begun = (): void => {}
      const inside = new Promise<void>((resolve) => {
        begun = resolve
      })
      let finish: (answer: Answer) => void = () => {}
      rig.check = () => {
        begun()
        return new Promise((resolve) => {
          finish = resolve
        })
      }
      const server = await rig.start('127.0.0.1:0')
      const client = rig.dial(server)
      const watched: (number | undefined)[] = []
      const watch = client.makeServerStreamRequest(
        health['Watch']!.path,
        asIs,
        health['Watch']!.responseDeserialize,
        health['Watch']!.requestSerialize({ service: '' }),
      )
      watch.on('error', () => {})
      watch.on('data', (message) => watched.push(message.status))
      const watchEnded = new Promise((resolve) => watch.on('status', (end) => resolve(end.code)))
      const call = unary(client, checkPath, plain, 5000)
      await inside
      const began = performance.now()
      const closed = server.close(4000)
      assert.equal(code(await unary(rig.dial(server), checkPath, plain, 500)), status.UNAVAILABLE)
      assert.equal(await watchEnded, status.OK)
      assert.deepEqual(watched, [1, 2])
      finish(allow)
      assert.equal(code(await call), 0)
      await closed
      assert(performance.now() - began < 3000)
    })

    it('cuts what does not end in time', async () => {
      rig.check = () => new Promise(() => {})
      const server = await rig.start('127.0.0.1:0')
      const call = unary(rig.dial(server), checkPath, plain, 5000)
      const { port } = server.address as { port: number }
      const idle = connect(port, '127.0.0.1')
      idle.on('error', () => {})
      await new Promise((resolve) => idle.once('connect', resolve))
      await new Promise((resolve) => setTimeout(resolve, 100))
      const began = performance.now()
      await server.close(100)
      assert(performance.now() - began < 1000)
      assert.notEqual(code(await call), 0)
      assert.equal(await server.close(100), undefined)
    })
  })
}
