import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import type { CheckHandler } from '../../src/wire/check-handler.ts'
import type { CheckServer } from '../../src/wire/transport.ts'
import { ask, connectTo, framed, grpcHeaders } from './http2-client.ts'
import { makeRig, transports } from './transport-rig.ts'

// Any bytes will do: a transport does not look at them.
const whole = framed(Buffer.alloc(100, 1))
const answer = Buffer.from('answer')

for (const transport of transports) {
  describe(`the ${transport.name} transport, with answers that take their time`, () => {
    const rig = makeRig(transport.start)
    let decide: CheckHandler = () => answer
    let waiting: ((answer: Buffer) => void)[] = []
    const later: CheckHandler = () => new Promise((resolve) => waiting.push(resolve))
    const start = (): Promise<CheckServer> =>
      rig.start('127.0.0.1:0', undefined, { handler: (message, timeoutMs) => decide(message, timeoutMs) })
    const finish = (): void => {
      for (const resolve of waiting.splice(0)) resolve(answer)
      decide = () => answer
    }

    beforeEach(() => {
      waiting = []
      decide = later
    })
    afterEach(rig.clear)

    it('answers many calls in whatever order they are decided', async () => {
      const session = connectTo(await start())
      decide = async () => {
        await sleep(Math.random() * 20)
        return answer
      }
      const outcomes = await Promise.all(Array.from({ length: 200 }, () => ask(session, { chunks: [whole] })))
      assert(outcomes.every((outcome) => outcome.status === 0 && outcome.body.equals(framed(answer))))
      session.destroy()
    })

    it('ends a call whose deadline passes, and goes on', async () => {
      const session = connectTo(await start())
      const late = await ask(session, { chunks: [whole], headers: { 'grpc-timeout': '50m' } })
      assert.deepEqual([late.status, late.trailersOnly, late.message], [status.DEADLINE_EXCEEDED, true, 'Deadline exceeded'])
      finish()
      assert.equal((await ask(session, { chunks: [whole] })).status, 0)
      session.destroy()
    })

    it('survives clients that reset their calls, before and after their message', async () => {
      const session = connectTo(await start())
      const streams = [1, 3, 20, whole.length].flatMap((bytes) =>
        Array.from({ length: 10 }, () => {
          const stream = session.request(grpcHeaders)
          stream.on('error', () => {})
          stream.write(whole.subarray(0, bytes))
          return stream
        }),
      )
      await sleep(50)
      for (const stream of streams) stream.close(8)
      await sleep(50)
      finish()
      assert.equal((await ask(session, { chunks: [whole] })).status, 0)
      session.destroy()
    })

    it('survives connections that break with calls in flight', async () => {
      const server = await start()
      const broken = connectTo(server)
      const asked = Array.from({ length: 10 }, () => ask(broken, { chunks: [whole] }))
      while (waiting.length < 10) await sleep(5)
      broken.destroy()
      await Promise.all(asked)
      finish()
      const session = connectTo(server)
      assert.equal((await ask(session, { chunks: [whole] })).status, 0)
      session.destroy()
    })

    it('answers INTERNAL where a handler breaks its promise not to fail', async () => {
      const session = connectTo(await start())
      for (const broken of [() => Promise.reject(new Error('x')), () => assert.fail('x')]) {
        decide = broken
        const outcome = await ask(session, { chunks: [whole] })
        assert.deepEqual([outcome.status, outcome.message, outcome.trailersOnly], [status.INTERNAL, 'the call failed', true])
      }
      session.destroy()
    })
  })
}
