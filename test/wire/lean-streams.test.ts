import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { connect, performServerHandshake, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import { type AddressInfo, connect as connectSocket, createServer } from 'node:net'
import { calmStreams, StreamMap, StreamSet } from '../../src/wire/lean-streams.ts'
import { framed } from './http2-client.ts'
import { checkPath } from './transport-rig.ts'

const stream = (id: number): ServerHttp2Stream => ({ id }) as unknown as ServerHttp2Stream

/** The same numbers in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
}

describe('streams that are gone leave nothing behind', () => {
  it('in a Map that behaves as a Map', () => {
    const next = numbers(1)
    const mine = new StreamMap()
    const real = new Map<number, ServerHttp2Stream>()
    for (let step = 0; step < 20_000; step++) {
      // Ids that meet in one slot, too: 4096 apart.
      const id = 1 + 2 * next(40) + 4096 * next(3)
      const doing = next(1000)
      if (doing === 0) {
        mine.clear()
        real.clear()
      } else if (doing < 500) {
        const added = stream(id)
        assert.equal(mine.set(id, added), mine)
        real.set(id, added)
      } else assert.equal(mine.delete(id), real.delete(id))
      assert.equal(mine.size, real.size)
      assert.equal(mine.get(id), real.get(id))
      assert.equal(mine.has(id), real.has(id))
      if (step % 100 === 0) same(mine, real)
    }
  })

  it('in a Set that behaves as a Set', () => {
    const next = numbers(2)
    const mine = new StreamSet()
    const real = new Set<ServerHttp2Stream>()
    const streams = Array.from({ length: 5 }, (_, id) => stream(id))
    for (let step = 0; step < 10_000; step++) {
      const one = streams[next(streams.length)] as ServerHttp2Stream
      const doing = next(100)
      if (doing === 0) {
        mine.clear()
        real.clear()
      } else if (doing < 50) {
        assert.equal(mine.add(one), mine)
        real.add(one)
      } else assert.equal(mine.delete(one), real.delete(one))
      assert.equal(mine.size, real.size)
      assert.equal(mine.has(one), real.has(one))
      const seen: ServerHttp2Stream[] = []
      mine.forEach((value) => {
        seen.push(value)
      })
      for (const all of [seen, [...mine], [...mine.keys()], [...mine.entries()].map(([value]) => value)])
        assert.deepEqual(new Set(all.map(idOf)), new Set([...real].map(idOf)))
    }
  })

  it('in a session of this Node, which has a Map and a Set to replace', async () => {
    const calmed = new Promise<boolean[]>((resolve) => {
      server.once('connection', (socket) => {
        const session = performServerHandshake(socket)
        resolve([calmStreams(session), calmStreams({} as ServerHttp2Session)])
      })
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    assert.deepEqual(await calmed, [true, false])
    client.destroy()
  })
  const server = createServer()
  after(() => server.close())

  it('among the old objects of a process that has served many calls', async function () {
    this.timeout(30_000)
    // No full collection, so that what is kept can be seen; and room for what is under way, which grows old otherwise.
    const execArgv = ['--initial-old-space-size=512', '--min-semi-space-size=16']
    const child = fork(new URL('lean-streams-child.ts', import.meta.url), { execArgv })
    try {
      const [{ port }] = (await once(child, 'message')) as [{ port: number }]
      const calling = callMany(port, 80_000)
      // The first calls of a connection may be kept until it has settled.
      let before = await keptBy(child)
      while (before.calls < 50_000) before = await keptBy(child)
      await calling
      const after = await keptBy(child)
      assert.equal(after.collections, before.collections, 'a full collection hides what was kept')
      const each = (after.bytes - before.bytes) / (after.calls - before.calls)
      // About 300 bytes, which are strings that node:http2 makes there; a stream that is kept has 2000 more.
      assert.ok(each < 1000, `${each} bytes of each call are kept among the old objects`)
    } finally {
      child.kill()
    }
  })
})

const idOf = ({ id }: ServerHttp2Stream): number | undefined => id

function same(mine: StreamMap, real: Map<number, ServerHttp2Stream>): void {
  const byId = (entries: Iterable<[number, ServerHttp2Stream]>) => [...entries].sort(([a], [b]) => a - b)
  assert.deepEqual(byId(mine), byId(real))
  assert.deepEqual([...mine.keys()].sort(), [...real.keys()].sort())
  assert.deepEqual([...mine.values()].map(idOf).sort(), [...real.values()].map(idOf).sort())
  const seen: [number, ServerHttp2Stream][] = []
  mine.forEach((value, id) => {
    seen.push([id, value])
  })
  assert.deepEqual(byId(seen), byId(real))
}

interface Kept {
  /** Of the old objects. */
  readonly bytes: number
  /** Calls and full collections until now. */
  readonly calls: number
  readonly collections: number
}

async function keptBy(child: ReturnType<typeof fork>): Promise<Kept> {
  child.send('kept?')
  const [kept] = (await once(child, 'message')) as [Kept]
  return kept
}

const frame = (type: number, flags: number, id: number, payload: Buffer): Buffer => {
  const head = Buffer.from([0, 0, 0, type, flags, 0, 0, 0, 0])
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, payload])
}

const text = (string: string): Buffer => Buffer.concat([Buffer.from([string.length]), Buffer.from(string)])

/** Literal header fields that are not indexed (RFC 7541, 6.2.2). */
const headers = Buffer.concat(
  Object.entries({
    ':method': 'POST',
    ':scheme': 'http',
    ':path': checkPath,
    ':authority': 'postern',
    'content-type': 'application/grpc',
    te: 'trailers',
  }).flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]),
)
const message = framed(Buffer.alloc(1024))
const begin = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))])

/** Makes calls over one connection, 64 at once, each in two frames as Envoy does; and is told of each end by its trailers. */
async function callMany(port: number, calls: number): Promise<void> {
  const socket = connectSocket(port, '127.0.0.1')
  // Room for all answers.
  socket.write(Buffer.concat([begin, frame(8, 0, 0, Buffer.from([0x7f, 0, 0, 0]))]))
  let id = -1
  let begun = 0
  let left = calls
  const next = (): Buffer[] => {
    if (begun++ >= calls) return []
    id += 2
    return [frame(1, 4, id, headers), frame(0, 1, id, message)]
  }
  let rest: Buffer = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    const replies: Buffer[] = []
    while (rest.length >= 9) {
      const end = 9 + rest.readUIntBE(0, 3)
      if (rest.length < end) break
      const [type, flags] = [rest[3], rest[4] as number]
      rest = rest.subarray(end)
      if (type === 4 && flags === 0) replies.push(frame(4, 1, 0, Buffer.alloc(0)))
      if (type !== 1 || (flags & 1) === 0) continue
      replies.push(...next())
      if (--left === 0) socket.end()
    }
    if (replies.length > 0) socket.write(Buffer.concat(replies))
  })
  socket.write(Buffer.concat(Array.from({ length: 64 }, next).flat()))
  await once(socket, 'close')
  assert.equal(left, 0)
}
