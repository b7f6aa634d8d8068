import assert from 'node:assert/strict'
import { http2Connection } from '../support/http2-connection.ts'
import { canMeasure } from '../support/process-cost.ts'
import { until } from '../support/until.ts'
import { type attacks, resetCall, resetCheck } from './attacks.ts'
import { type Service, startService, type Transport } from './service.ts'
import { underAttack } from './under-attack.ts'

/** How an attack shows that it was one: by the frames that it got rid of, and perhaps by being thrown out. */
interface Bite {
  readonly frames: number
  /** The service ends the attacker's connection, as it has to where each frame costs it something. */
  readonly thrownOut?: true
}

const bites: Readonly<Record<keyof typeof attacks, Bite>> = {
  'calls reset at once': { frames: 20_000, thrownOut: true },
  'checks reset at once': { frames: 10_000, thrownOut: true },
  'calls that the service has to reset: a window over its limit': { frames: 500 },
  'calls that the service has to reset: a window update of 0': { frames: 500 },
  'calls that the service has to reset: more DATA than content-length': { frames: 500 },
  'calls that the service has to reset: DATA after the end': { frames: 500 },
  'calls that the service has to reset: a stream that depends on itself': { frames: 500 },
  'endless CONTINUATION': { frames: 100, thrownOut: true },
  'endless CONTINUATION without a field': { frames: 1_000, thrownOut: true },
  'header lists that are too long': { frames: 100 },
  'long header lists': { frames: 100 },
  'fields without a name': { frames: 100 },
  'an HPACK bomb': { frames: 20 },
  'SETTINGS, unread': { frames: 2_000, thrownOut: true },
  'SETTINGS, read': { frames: 10_000 },
  'PING, unread': { frames: 2_000, thrownOut: true },
  'PING, read': { frames: 10_000 },
  'DATA without data': { frames: 1_000, thrownOut: true },
  PRIORITY: { frames: 10_000 },
  WINDOW_UPDATE: { frames: 10_000 },
  'frames of an unknown type': { frames: 10_000 },
}

/** More than an Envoy resets when all of its calls of a bad second have come to their time-out: it has 1024 at once. */
const manyResets = 8_000

/** grpc-js stands on the same nghttp2, with the limits that Node has unless told otherwise. */
const ofGrpcJs = ['calls reset at once', 'endless CONTINUATION', 'PING, unread']

for (const [transport, names] of Object.entries({ lean: Object.keys(bites), 'grpc-js': ofGrpcJs }) as [Transport, string[]][]) {
  describe(`${transport} answers others through a flood of`, function () {
    this.timeout(60_000)
    let service: Service

    before(async function () {
      if (!canMeasure) return this.skip()
      service = await startService(transport)
    })
    after(() => service?.stop())

    for (const name of names) {
      const { frames, thrownOut } = bites[name as keyof typeof bites]
      it(name, async () => {
        const counts = await underAttack(service, name, thrownOut ? { frames, thrownOut: 1 } : { frames })
        assert.ok(counts['frames']! >= frames, `only ${counts['frames']} frames: no flood`)
        if (thrownOut) assert.ok(counts['thrownOut']! > 0, 'no attacker was thrown out')
        assert.ok(service.postern.program.running())
      })
    }

    // grpc-js stops reading such a connection, and leaves it open.
    if (transport === 'grpc-js') return
    for (const [what, frames] of Object.entries({ calls: resetCall, checks: resetCheck })) {
      it(`${manyResets} reset ${what} on one connection, and ends that connection`, async () => {
        const connection = await http2Connection(service.port)
        try {
          for (let at = 0; at < manyResets && !connection.closed(); at += 100) {
            const hundred = Array.from({ length: 100 }, (_, index) => frames((at + index) * 2 + 1)).flat()
            await connection.send(Buffer.concat(hundred), hundred.length)
          }
          await until('the connection to be ended', () => connection.closed(), 20_000)
        } finally {
          connection.cut()
        }
      })
    }
  })
}
