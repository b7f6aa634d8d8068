import assert from 'node:assert/strict'
import { type Http2Connection, http2Connection } from '../support/http2-connection.ts'
import { flag, frame, frameType, priority, setting, settings, windowUpdate } from '../support/http2-frames.ts'
import { grpcHeaders, grpcMessage } from '../support/http2-headers.ts'
import { until } from '../support/until.ts'
import { encodeRequest, plainRequest } from '../wire/support.ts'
import { type Served, startCheckServer, type Transport } from './servers.ts'

const stream = 1
const window = (size: number): Buffer => settings([setting.initialWindowSize, size])
const message = grpcMessage(encodeRequest(plainRequest))
const headers = frame(frameType.headers, flag.endHeaders, stream, grpcHeaders())
const data = frame(frameType.data, flag.endStream, stream, message)

/** What h2spec asks of the DATA of an answer, asked of the answer to a check (RFC 9113, sections 5.1, 6.5.3 and 6.9.2). */
for (const transport of ['lean', 'grpc-js'] satisfies Transport[]) {
  describe(`the DATA of ${transport}`, () => {
    let server: Served
    let connection: Http2Connection
    /** Payload lengths of the DATA that came. */
    let lengths: number[]
    let ended: boolean
    let acknowledged: number

    before(async () => {
      server = await startCheckServer(transport)
    })
    beforeEach(() => {
      lengths = []
      ended = false
      acknowledged = 0
    })
    afterEach(() => connection.cut())
    after(() => server.stop())

    const open = async (first: Buffer): Promise<void> => {
      connection = await http2Connection(server.port, {
        settings: first,
        onFrame: (type, flags, _stream, payload) => {
          if (type === frameType.data) lengths.push(payload.length)
          if (type === frameType.settings && flags & flag.ack) acknowledged++
          if ((type === frameType.headers || type === frameType.data) && flags & flag.endStream) ended = true
        },
      })
      await until('SETTINGS to be acknowledged', () => acknowledged === 1)
    }
    /** Whatever was on its way has come when a SETTINGS frame sent now is acknowledged. */
    const settle = async (sent: Buffer): Promise<void> => {
      const before = acknowledged
      await connection.send(sent)
      await until('SETTINGS to be acknowledged', () => acknowledged > before)
    }
    const lengthsAre = (...wanted: number[]): Promise<unknown> =>
      until(`DATA of ${wanted} bytes`, () => lengths.length >= wanted.length, 2_000).then(() => assert.deepEqual(lengths, wanted))
    const wholeAnswer = async (): Promise<void> => {
      await until('the end of the answer', () => ended, 2_000)
      assert.ok(lengths.reduce((sum, length) => sum + length, 0) > 5)
    }

    it('keeps to the window of a stream', async () => {
      await open(window(1))
      await connection.send(Buffer.concat([headers, data]), 2)
      await lengthsAre(1)
      await settle(settings())
      assert.deepEqual([lengths, ended], [[1], false])
      await connection.send(windowUpdate(stream, 65_535))
      await wholeAnswer()
    })

    it('keeps to the window of the connection', async () => {
      await open(window(65_535))
      const calls = Array.from({ length: 1000 }, (_, index) => index * 2 + 1)
      const call = (id: number): Buffer =>
        Buffer.concat([frame(frameType.headers, flag.endHeaders, id, grpcHeaders()), frame(frameType.data, flag.endStream, id, message)])
      await connection.send(Buffer.concat(calls.map(call)), calls.length * 2)
      const sum = (): number => lengths.reduce((total, length) => total + length, 0)
      await until('the window to be used up', () => sum() === 65_535, 5_000)
      await settle(settings())
      assert.equal(sum(), 65_535)
      await connection.send(windowUpdate(0, 1_000_000))
      await until('more', () => sum() > 65_535, 2_000)
    })

    it('takes the last of several SETTINGS_INITIAL_WINDOW_SIZE', async () => {
      await open(settings([setting.initialWindowSize, 100], [setting.initialWindowSize, 1]))
      await connection.send(Buffer.concat([headers, data]), 2)
      await lengthsAre(1)
    })

    it('adjusts the window of a stream that is open, below zero too', async () => {
      await open(window(0))
      await connection.send(Buffer.concat([headers, data]), 2)
      await settle(settings())
      assert.deepEqual(lengths, [])
      await settle(window(3))
      await lengthsAre(3)
      await settle(window(2))
      await connection.send(windowUpdate(stream, 2))
      await lengthsAre(3, 1)
    })

    it('answers after WINDOW_UPDATE and PRIORITY on a stream that is half closed', async () => {
      await open(window(0))
      await connection.send(Buffer.concat([headers, data, priority(stream, 0), windowUpdate(stream, 65_535)]), 4)
      await wholeAnswer()
      assert.deepEqual([connection.goaways, connection.resets], [[], {}])
    })
  })
}
