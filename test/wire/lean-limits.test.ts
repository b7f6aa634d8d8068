import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, type ClientHttp2Stream, constants } from 'node:http2'
import { status } from '@grpc/grpc-js'
import type { ServerLimits } from '../../src/wire/lean-connections.ts'
import { startLeanServer } from '../../src/wire/lean-server.ts'
import type { CheckServer } from '../../src/wire/transport.ts'
import { until } from '../support/until.ts'
import { ask, connectTo, framed, grpcHeaders } from './http2-client.ts'
import { makeRig } from './transport-rig.ts'

const whole = framed(Buffer.alloc(100, 1))
const answer = Buffer.from('answer')

/** Small numbers for what a server takes on of all its peers together. */
describe('the lean transport, of all its peers together', () => {
  let limits: Partial<ServerLimits> = {}
  const rig = makeRig((options) => startLeanServer({ ...options, limits }))
  let opened: ClientHttp2Session[] = []
  let waiting: ((answer: Buffer) => void)[] = []
  const start = (few: Partial<ServerLimits>, later = false): Promise<CheckServer> => {
    limits = few
    const handler = later ? () => new Promise<Buffer>((resolve) => waiting.push(resolve)) : () => answer
    return rig.start('127.0.0.1:0', undefined, { handler })
  }
  const connected = async (server: CheckServer): Promise<ClientHttp2Session> => {
    const session = connectTo(server)
    opened.push(session)
    await once(session, 'remoteSettings')
    return session
  }
  /** Begins a message of so many bytes, and sends all but the last. */
  const begin = (session: ClientHttp2Session, bytes: number): ClientHttp2Stream => {
    const stream = session.request(grpcHeaders)
    stream.on('error', () => {})
    stream.write(framed(Buffer.alloc(bytes)).subarray(0, -1))
    return stream
  }
  const last = Buffer.alloc(1)

  beforeEach(() => {
    opened = []
    waiting = []
  })
  afterEach(async () => {
    for (const session of opened) session.destroy()
    for (const resolve of waiting) resolve(answer)
    await rig.clear()
  })

  it('makes room for an unfinished message where another connection keeps more', async () => {
    const server = await start({ maxUnfinishedTotal: 100_000 })
    const [greedy, modest] = [await connected(server), await connected(server)]
    const [oldest, newest] = [begin(greedy, 45_000), begin(greedy, 45_000)]
    // A message that comes in one frame needs no room, on no connection.
    assert.equal((await ask(greedy, { chunks: [whole] })).status, 0)
    const refused = await ask(greedy, { chunks: [framed(Buffer.alloc(45_000)).subarray(0, -1)], end: false })
    assert.equal(refused.status, status.RESOURCE_EXHAUSTED)
    const took = await ask(modest, {
      chunks: [framed(Buffer.alloc(40_000)).subarray(0, 20_000), framed(Buffer.alloc(40_000)).subarray(20_000)],
    })
    assert.equal(took.status, 0)
    // What was kept longest has been let go, the other has not.
    const outcomes = [oldest, newest].map(async (stream) => {
      const response = once(stream, 'response')
      stream.end(last)
      const [headers] = await response
      return headers['grpc-status']
    })
    assert.deepEqual(await Promise.all(outcomes), [String(status.RESOURCE_EXHAUSTED), undefined])
  })

  it('refuses calls over the total, and leaves each connection a few', async () => {
    const server = await start({ maxCalls: 10, reservedCalls: 2 }, true)
    const [greedy, modest] = [await connected(server), await connected(server)]
    const held = Array.from({ length: 10 }, () => ask(greedy, { chunks: [whole] }))
    await until('ten calls to wait', () => waiting.length === 10)
    const refused = await ask(greedy, { chunks: [whole] })
    assert.equal(refused.reset, constants.NGHTTP2_REFUSED_STREAM)
    const reserved = [ask(modest, { chunks: [whole] }), ask(modest, { chunks: [whole] })]
    await until('two calls more to wait', () => waiting.length === 12)
    assert.equal((await ask(modest, { chunks: [whole] })).reset, constants.NGHTTP2_REFUSED_STREAM)
    for (const resolve of waiting.splice(0)) resolve(answer)
    assert((await Promise.all([...held, ...reserved])).every((outcome) => outcome.status === 0))
    // They count no more.
    const after = Array.from({ length: 10 }, () => ask(greedy, { chunks: [whole] }))
    await until('ten calls to wait again', () => waiting.length === 10)
    for (const resolve of waiting.splice(0)) resolve(answer)
    assert((await Promise.all(after)).every((outcome) => outcome.status === 0))
  })

  it('closes the connection that has been idle longest for one more', async () => {
    const server = await start({ maxConnections: 3 })
    const [first, second, third] = [await connected(server), await connected(server), await connected(server)]
    for (const session of [second, first, third]) assert.equal((await ask(session, { chunks: [whole] })).status, 0)
    const closed = once(second, 'close')
    const fourth = await connected(server)
    await closed
    for (const session of [first, third, fourth]) assert.equal((await ask(session, { chunks: [whole] })).status, 0)
    assert(rig.faults.some((fault) => fault.includes('more than 3 connections')))
  })
})
