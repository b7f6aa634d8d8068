import { connect, type Socket } from 'node:net'
import { flag, frame, frameHead, frameType, preface, settings } from './http2-frames.ts'

/** What a connection has sent and been told, while it goes on. */
export interface Http2Connection {
  readonly socket: Socket
  /** Frames and bytes that were handed to the system. */
  readonly sent: { frames: number; bytes: number }
  /** Frames that came, by type. */
  readonly received: Record<number, number>
  /** Error codes of the GOAWAY that came, if any … */
  readonly goaways: readonly number[]
  /** … and of RST_STREAM frames, with how many of each. */
  readonly resets: Readonly<Record<number, number>>
  readonly closed: () => boolean
  /** Writes, and waits where the system takes no more. @param frames how many frames the bytes hold */
  readonly send: (bytes: Buffer, frames?: number) => Promise<void>
  /** Resolves when the connection is closed, by whichever side. */
  readonly ended: Promise<void>
  /** Cuts the connection. */
  readonly cut: () => void
}

export interface Http2Options {
  /** Sent with the preface; an empty SETTINGS frame by default. */
  readonly settings?: Buffer
  /** Nothing is read: the server's answers stay in the system's buffers, and then in its own. */
  readonly deaf?: true
  /** Called for each frame that comes. The payload is valid during the call alone. */
  readonly onFrame?: (type: number, flags: number, stream: number, payload: Buffer) => void
}

const finished = Promise.resolve()

/** Opens a connection to 127.0.0.1 and says the preface. It acknowledges SETTINGS, unless it is deaf, and does no more by itself. */
export function http2Connection(port: number, options: Http2Options = {}): Promise<Http2Connection> {
  return new Promise((done, fail) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const sent = { frames: 0, bytes: 0 }
    const received: Record<number, number> = {}
    const goaways: number[] = []
    const resets: Record<number, number> = {}
    const take = (type: number, flags: number, stream: number, payload: Buffer): void => {
      received[type] = (received[type] ?? 0) + 1
      if (type === frameType.goaway) goaways.push(payload.readUInt32BE(4))
      if (type === frameType.rstStream) {
        const code = payload.readUInt32BE(0)
        resets[code] = (resets[code] ?? 0) + 1
      }
      if (type === frameType.settings && !(flags & flag.ack)) void send(frame(frameType.settings, flag.ack, 0))
      options.onFrame?.(type, flags, stream, payload)
    }
    let over = false
    // An acknowledgement may wait beside what an attack writes.
    const waiting: (() => void)[] = []
    const goOn = (): void => {
      for (const resolve of waiting.splice(0)) resolve()
    }
    socket.on('drain', goOn)
    const ended = new Promise<void>((resolve) => {
      socket.once('close', () => {
        over = true
        goOn()
        resolve()
      })
    })
    const send = (bytes: Buffer, frames = 1): Promise<void> => {
      if (over || socket.destroyed || !socket.writable) return finished
      sent.frames += frames
      sent.bytes += bytes.length
      if (socket.write(bytes)) return finished
      return new Promise((resolve) => void waiting.push(resolve))
    }
    socket.once('error', fail)
    socket.on('error', () => {})
    if (options.deaf) socket.pause()
    else socket.on('data', frameReader(take))
    socket.once('connect', () => {
      void send(Buffer.concat([preface, options.settings ?? settings()]))
      done({ socket, sent, received, goaways, resets, closed: () => over, send, ended, cut: () => socket.destroy() })
    })
  })
}

/** Cuts a byte stream into frames. */
function frameReader(take: (type: number, flags: number, stream: number, payload: Buffer) => void): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0)
  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    let at = 0
    while (bytes.length - at >= frameHead) {
      const end = at + frameHead + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      take(bytes[at + 3]!, bytes[at + 4]!, bytes.readUInt32BE(at + 5) & 0x7fffffff, bytes.subarray(at + frameHead, end))
      at = end
    }
    rest = bytes.subarray(at)
  }
}
