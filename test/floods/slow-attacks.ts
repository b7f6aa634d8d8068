import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Http2Connection, http2Connection } from '../support/http2-connection.ts'
import { flag, frame, frameType, preface, setting, settings } from '../support/http2-frames.ts'
import { grpcHeaders, grpcMessage } from '../support/http2-headers.ts'
import { allowedCheck } from './service.ts'
import type { Attack, Counts } from './under-attack.ts'

/** As the service allows on one connection (`maxStreams`). */
const mostStreams = 1024
const headerBlock = grpcHeaders()
const message = grpcMessage(allowedCheck)

const opened = (count: number, one: () => Promise<Http2Connection>): Promise<Http2Connection[]> =>
  Promise.all(Array.from({ length: count }, one))

const ids = (count: number): number[] => Array.from({ length: count }, (_, index) => index * 2 + 1)

const counted = (connections: readonly Http2Connection[]): Counts => ({
  connections: connections.length,
  frames: connections.reduce((sum, { sent }) => sum + sent.frames, 0),
  thrownOut: connections.filter(({ closed }) => closed()).length,
})

async function endAll(connections: readonly Http2Connection[]): Promise<Counts> {
  const counts = counted(connections)
  for (const each of connections) each.cut()
  await Promise.all(connections.map(({ ended }) => ended))
  return counts
}

/** Checks whose answers nobody lets out: no window, and nothing is read (CVE-2019-9517). */
const slowRead =
  (count: number): Attack =>
  async (port, over) => {
    const shut = settings([setting.initialWindowSize, 0])
    const connections = await opened(count, () => http2Connection(port, { deaf: true, settings: shut }))
    const call = (id: number): Buffer =>
      Buffer.concat([frame(frameType.headers, flag.endHeaders, id, headerBlock), frame(frameType.data, flag.endStream, id, message)])
    const calls = Buffer.concat(ids(mostStreams).map(call))
    for (const each of connections) void each.send(calls, mostStreams * 2)
    while (!over(counted(connections))) await sleep(20)
    return endAll(connections)
  }

/** Messages that come a byte at a time and never end ("slowloris"). */
const slowWrite: Attack = async (port, over) => {
  const connections = await opened(64, () => http2Connection(port))
  const streams = ids(64)
  const begun = Buffer.concat(streams.map((id) => frame(frameType.headers, flag.endHeaders, id, headerBlock)))
  for (const each of connections) void each.send(begun, streams.length)
  for (let at = 0; !over(counted(connections)); at = (at + 1) % message.length) {
    const byte = message.subarray(at, at + 1)
    // The last byte of a message never comes.
    if (at < message.length - 1) {
      const bytes = Buffer.concat(streams.map((id) => frame(frameType.data, flag.none, id, byte)))
      for (const each of connections) void each.send(bytes, streams.length)
    }
    await sleep(50)
  }
  return endAll(connections)
}

/** Messages that say they are large, and stop short of their end: what was sent is kept until then. */
const unfinished: Attack = async (port, over) => {
  const connections = await opened(32, () => http2Connection(port))
  const head = Buffer.alloc(5)
  head.writeUInt32BE(1_000_000, 1)
  const begin = (id: number): Buffer =>
    Buffer.concat([frame(frameType.headers, flag.endHeaders, id, headerBlock), frame(frameType.data, flag.none, id, head)])
  const part = Buffer.alloc(16_000)
  let ended = false
  for (const each of connections) {
    void (async () => {
      for (const id of ids(mostStreams)) {
        if (ended || each.closed()) return
        await each.send(begin(id), 2)
        for (let sent = 0; sent < 40 && !ended && !each.closed(); sent++) await each.send(frame(frameType.data, flag.none, id, part))
      }
    })()
  }
  while (!over(counted(connections))) await sleep(20)
  ended = true
  return endAll(connections)
}

/** Connections that say these bytes and nothing more, and are kept. */
function silent(count: number, first: Buffer): Attack {
  return async (port, over) => {
    const begun = async (): Promise<Socket> => {
      const socket = await dial(port)
      if (first.length > 0) socket.write(first)
      return socket
    }
    const sockets = await Promise.all(Array.from({ length: count }, begun))
    // They are open as soon as the system has them: the service may not have taken them yet, let alone closed one.
    const counts = (): Counts => ({ connections: count, frames: 0, thrownOut: sockets.filter(({ destroyed }) => destroyed).length })
    while (!over(counts())) await sleep(20)
    const last = counts()
    for (const socket of sockets) socket.destroy()
    return last
  }
}

/** Connections that come and go, each with a preface, some with a call that nobody waits for. */
const comeAndGo: Attack = async (port) => {
  const total = 4_000
  const atOnce = 20
  const greeting = Buffer.concat([preface, settings()])
  const call = Buffer.concat([
    greeting,
    frame(frameType.headers, flag.endHeaders, 1, headerBlock),
    frame(frameType.data, flag.endStream, 1, message),
  ])
  let connections = 0
  const visit = async (): Promise<void> => {
    while (connections < total) {
      connections++
      const socket = await dial(port)
      await new Promise<void>((done) => void socket.write(connections % 2 === 0 ? call : greeting, () => done()))
      // A reset, so that no port of this machine is left waiting.
      socket.resetAndDestroy()
    }
  }
  await Promise.all(Array.from({ length: atOnce }, visit))
  return { connections, frames: connections * 2, thrownOut: 0 }
}

function dial(port: number): Promise<Socket> {
  return new Promise((done, fail) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('error', fail)
    socket.once('connect', () => {
      socket.off('error', fail).on('error', () => {})
      done(socket)
    })
    socket.on('data', () => {})
  })
}

/** A ClientHello that ends within its random bytes: the header of a record of 512 bytes, and 64 of them. */
const halfHello = Buffer.concat([Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]), Buffer.alloc(53, 7)])

/** Attacks by patience rather than by number, by the name that a test gives. */
export const slowAttacks = {
  // Twice as many as are answered at once.
  'checks whose answers are not read': slowRead(16),
  'messages that come a byte at a time': slowWrite,
  'large messages that do not end': unfinished,
  'more connections than are kept': silent(1_500, Buffer.concat([preface, settings()])),
  'connections that say nothing': silent(500, Buffer.alloc(0)),
  'connections that say half a preface': silent(500, preface.subarray(0, 12)),
  'TLS handshakes that do not begin': silent(300, Buffer.alloc(0)),
  'TLS handshakes that do not end': silent(300, halfHello),
  '4,000 connections': comeAndGo,
} satisfies Readonly<Record<string, Attack>>
