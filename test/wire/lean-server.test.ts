import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { type LeanServerOptions, startLeanServer } from '../../src/wire/lean-server.ts'
import type { CheckServer } from '../../src/wire/transport.ts'
import { ask, connectTo, framed, grpcHeaders } from './http2-client.ts'
import { checkPath, makeRig } from './transport-rig.ts'

const whole = framed(Buffer.alloc(100, 1))
const answer = Buffer.alloc(600, 2)

/** One HTTP/2 frame (RFC 9113, 4.1). */
function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** The headers of a call as HPACK literals. */
const requestBlock = Buffer.concat(
  [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', checkPath],
    [':authority', 'a'],
    ['content-type', 'application/grpc'],
  ].flatMap(([name = '', value = '']) => [
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ]),
)

// What grpc-js does not do, or does otherwise; the rest is in transport*.test.ts.
describe('the lean transport alone', () => {
  const rig = makeRig((options) => startLeanServer({ ...options, lookEveryMs: 20 }))
  const start = (more: Partial<LeanServerOptions> = {}): Promise<CheckServer> =>
    rig.start('127.0.0.1:0', undefined, { handler: () => answer, ...more })
  const open = (session: ClientHttp2Session): ClientHttp2Stream => {
    const stream = session.request(grpcHeaders)
    stream.on('error', () => {})
    return stream
  }

  afterEach(rig.clear)

  it('answers as soon as the message is whole, and asks who sends on to stop', async () => {
    const session = connectTo(await start())
    const stream = open(session)
    stream.write(whole)
    const parts: Buffer[] = []
    stream.on('data', (part: Buffer) => parts.push(part))
    const [trailers] = await once(stream, 'trailers')
    assert.equal(trailers['grpc-status'], '0')
    assert(Buffer.concat(parts).equals(framed(answer)))
    const began = performance.now()
    const more = setInterval(() => stream.write(Buffer.alloc(16_000)), 5)
    await once(stream, 'close')
    clearInterval(more)
    assert(performance.now() - began < 3000)
    assert.equal(stream.rstCode, 0)
    assert.equal((await ask(session, { chunks: [whole] })).status, 0)
    session.destroy()
  })

  it('sends two frames of headers and one of data, without a date', async () => {
    const session = connectTo(await start())
    const { headers } = await ask(session, { chunks: [whole] })
    assert.deepEqual(Object.keys(headers), [':status', 'content-type'])
    session.destroy()
  })

  it('does not read on where a message is too large', async () => {
    const server = await start({ maxReceive: 1000 })
    const session = connectTo(server)
    const stream = open(session)
    let sent = 0
    const more = (): void => {
      if (!stream.destroyed) stream.write(Buffer.alloc(64 * 1024), () => more())
      sent++
    }
    stream.write(Buffer.from([0, 0x7f, 0, 0, 0]))
    more()
    const [headers] = await once(stream, 'response')
    assert.equal(headers['grpc-status'], String(status.RESOURCE_EXHAUSTED))
    // Node 24's client keeps the stream until all is written, which is never.
    while (!stream.closed) await sleep(5)
    assert(sent < 50, `${sent}`)
    session.destroy()
  })

  it('gives up on a message that does not arrive, and on what all calls of a connection leave unfinished', async () => {
    const session = connectTo(await start({ maxReceive: 1000 }))
    const slow = await ask(session, { chunks: [whole.subarray(0, 50)], end: false })
    assert.equal(slow.status, status.DEADLINE_EXCEEDED)
    const silent = await ask(session, { end: false })
    assert.equal(silent.status, status.DEADLINE_EXCEEDED)
    const hoarders = Array.from({ length: 10 }, () => ask(session, { chunks: [framed(Buffer.alloc(1000)).subarray(0, 900)], end: false }))
    const outcomes = await Promise.all(hoarders)
    assert(outcomes.some((outcome) => outcome.status === status.RESOURCE_EXHAUSTED))
    // What they held has been given back.
    const after = await Promise.all(Array.from({ length: 4 }, () => ask(session, { chunks: [whole.subarray(0, 60), whole.subarray(60)] })))
    assert(after.every((outcome) => outcome.status === 0))
    session.destroy()
  })

  it('ends the connection of a peer that does not take its answers', async () => {
    const server = await start({ handler: () => Buffer.alloc(100_000) })
    const { port } = server.address as { port: number }
    const session = connectHttp2(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } })
    session.on('error', () => {})
    for (let index = 0; index < 10; index++) open(session).end(whole)
    const began = performance.now()
    await once(session, 'close')
    assert(performance.now() - began < 3000)
  })

  it('ends the connection of a peer that does not read, and keeps little for it', async () => {
    let asked = 0
    const server = await start({
      handler: () => {
        asked++
        return Buffer.alloc(100_000)
      },
    })
    const { port } = server.address as { port: number }
    const socket = connect(port, '127.0.0.1').pause()
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.on('error', () => {})
    const settings = Buffer.from([0, 4, 0x7f, 0xff, 0xff, 0xff])
    const window = Buffer.from([0x7f, 0xff, 0, 0])
    socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, settings), frame(8, 0, 0, window)]))
    let id = -1
    const more = setInterval(() => {
      for (let call = 0; call < 100; call++) {
        id += 2
        socket.write(Buffer.concat([frame(1, 4, id, requestBlock), frame(0, 1, id, Buffer.alloc(5))]))
      }
    }, 10)
    await closed
    clearInterval(more)
    // 32 MB are kept, and no more.
    assert(asked > 50 && asked < 500, `${asked}`)
  })

  it('refuses streams over the limit, and headers that are too long', async () => {
    const session = connectTo(await start({ maxStreams: 4, handler: () => new Promise(() => {}) }))
    await once(session, 'remoteSettings')
    assert.equal(session.remoteSettings.maxConcurrentStreams, 4)
    const long = await ask(session, { chunks: [whole], headers: { 'x-long': 'x'.repeat(20_000) } })
    assert.notEqual(long.status, 0)
    session.destroy()
  })

  it('survives bytes that are no HTTP/2', async () => {
    const server = await start()
    const { port } = server.address as { port: number }
    for (const text of ['GET / HTTP/1.1\r\n\r\n', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x09\0\0\0\0\0']) {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      socket.resume()
      socket.write(text, 'latin1')
      await once(socket, 'close')
    }
    const session = connectTo(server)
    assert.equal((await ask(session, { chunks: [whole] })).status, 0)
    await sleep(1)
    session.destroy()
  })
})
