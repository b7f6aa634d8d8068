import { setTimeout as sleep } from 'node:timers/promises'
import { http2Connection } from '../support/http2-connection.ts'
import { flag, frame, frameHead, frameType, windowUpdate } from '../support/http2-frames.ts'
import { checkPath, grpcHeaders, grpcMessage } from '../support/http2-headers.ts'

/** One check, and what came of it. */
export interface Shot {
  readonly sentAt: number
  /** Milliseconds until the end of the answer; undefined while there is none. */
  ms: number | undefined
  /** The CheckResponse; undefined where the call ended without one, which is a gRPC error. */
  answer: Buffer | undefined
}

/** Checks over many connections, written by hand: it costs a fraction of what the service pays. */
export interface Load {
  /** Sends one on the next connection that has a stream left; undefined where none has. */
  readonly shoot: (message: Buffer) => Shot | undefined
  /** Sent, and not answered yet. */
  readonly open: () => number
  /** Milliseconds after which the last answer is awaited no more. */
  readonly settle: (limit: number) => Promise<void>
  readonly close: () => void
}

/** Below what the service allows on one connection. */
const mostStreams = 1000
/** gRPC messages come behind five bytes. */
const prefix = 5

/** @param timeout `grpc-timeout` of each check, such as `200m` */
export async function createLoad(port: number, connections: number, timeout: string): Promise<Load> {
  const head = frame(frameType.headers, flag.endHeaders, 1, grpcHeaders(checkPath, { 'grpc-timeout': timeout }))
  const lines = await Promise.all(Array.from({ length: connections }, () => openLine(port)))
  let turn = 0
  return {
    shoot: (message) => {
      for (let tries = 0; tries < lines.length; tries++) {
        const line = lines[turn++ % lines.length]!
        if (line.shots.size < mostStreams) return line.shoot(head, message)
      }
      return undefined
    },
    open: () => lines.reduce((sum, { shots }) => sum + shots.size, 0),
    settle: async (limit) => {
      const end = performance.now() + limit
      while (performance.now() < end && lines.some(({ shots }) => shots.size > 0)) await sleep(20)
    },
    close: () => {
      for (const line of lines) line.cut()
    },
  }
}

async function openLine(port: number) {
  const shots = new Map<number, Shot>()
  const connection = await http2Connection(port, {
    onFrame: (type, flags, stream, payload) => {
      const shot = shots.get(stream)
      if (shot === undefined) return
      if (type === frameType.data && payload.length > 0) shot.answer = Buffer.from(payload.subarray(prefix))
      const ended = type === frameType.rstStream || ((type === frameType.headers || type === frameType.data) && flags & flag.endStream)
      if (!ended) return
      shot.ms = performance.now() - shot.sentAt
      shots.delete(stream)
    },
  })
  // Answers are never held up by a window.
  await connection.send(windowUpdate(0, 2 ** 30))
  let next = 1
  return {
    shots,
    cut: connection.cut,
    shoot: (head: Buffer, message: Buffer): Shot => {
      const stream = next
      next += 2
      const bytes = Buffer.concat([head, frame(frameType.data, flag.endStream, stream, grpcMessage(message))])
      // The stream's id stands behind length, type and flags.
      bytes.writeUInt32BE(stream, frameHead - 4)
      const shot: Shot = { sentAt: performance.now(), ms: undefined, answer: undefined }
      shots.set(stream, shot)
      void connection.send(bytes, 2)
      return shot
    },
  }
}
