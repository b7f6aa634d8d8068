import { constants, type ServerHttp2Stream } from 'node:http2'
import { MessageReader, type ReadLimits, unreadable } from './lean-message.ts'
import { answerHeaders, code, okTrailers, type Refusal, refusal } from './lean-status.ts'

/** What serves one method: it answers or refuses the call, now or later. */
export type Method = (call: Call, message: Buffer) => void

/** What the calls of one connection share. */
export interface Connection extends ReadLimits {
  /** Ends it at once, with all that is kept for it. */
  readonly cut: () => void
}

/** How long a client may go on sending after it got its answer, in milliseconds. */
const lingerMs = 1000
/** setTimeout takes no more milliseconds than this. */
const longestTimer = 2 ** 31 - 1

const withTrailers = { waitForTrailers: true, sendDate: false }
const noMore = { endStream: true, sendDate: false }

const noMessage = refusal(code.unimplemented, 'the call ended without a whole message')
const moreThanOne = refusal(code.unimplemented, 'more than one message was sent to a unary method')
const tooLate = refusal(code.deadlineExceeded, 'Deadline exceeded')
const failed = refusal(code.internal, 'the call failed')

/**
 * A call to a unary or server-streaming method: its message is handed on as soon as it is whole, and answered.
 * Nothing that the peer does throws out of here, and nothing is written to a stream that is closed.
 */
export class Call {
  readonly stream: ServerHttp2Stream
  readonly connection: Connection
  /** `reading` its message, `deciding` what to answer, or `answered` (or refused) as far as we are concerned. */
  state: 'reading' | 'deciding' | 'answered' = 'reading'
  /** How often the watch over open calls has seen it in this state. */
  seen = 0
  /** Where it stands in the list of open calls. */
  place = -1
  private readonly method: Method
  private readonly timeoutMs: number | undefined
  /** performance.now() when its first turn had ended: most calls end in it, and reading the time costs more than it tells. */
  private countedFrom: number | undefined = undefined
  private readonly reader: MessageReader
  private timer: NodeJS.Timeout | undefined = undefined

  /** @param timeoutMs what `grpc-timeout` says */
  constructor(stream: ServerHttp2Stream, method: Method, timeoutMs: number | undefined, connection: Connection) {
    this.stream = stream
    this.method = method
    this.timeoutMs = timeoutMs
    this.connection = connection
    this.reader = new MessageReader(connection)
    stream.on('wantTrailers', sendTrailers)
    stream.on('data', (chunk: Buffer) => this.data(chunk))
  }

  /** Whether the peer has the whole answer, or is gone. */
  get over(): boolean {
    const { stream } = this
    return (
      stream.closed || stream.destroyed || (this.state === 'answered' && (stream.sentTrailers !== undefined || stream.writableFinished))
    )
  }

  /** Milliseconds that are left of `grpc-timeout`; undefined where there is none. */
  leftMs(): number | undefined {
    if (this.timeoutMs === undefined || this.countedFrom === undefined) return this.timeoutMs
    return this.timeoutMs - (performance.now() - this.countedFrom)
  }

  /** Told when the call did not end in the turn in which it began: from then on its end and its close matter. */
  wait(closed: (call: Call) => void): void {
    const { stream } = this
    this.countedFrom = performance.now()
    stream.once('close', () => {
      this.leave()
      closed(this)
    })
    if (stream.readableEnded) this.end()
    else stream.once('end', () => this.end())
  }

  /** Answers with the one message of a unary method. */
  answer(message: Uint8Array): void {
    if (!this.settle()) return
    this.stream.respond(answerHeaders, withTrailers)
    this.stream.end(framed(message))
  }

  /** Answers later. A promise that is rejected is INTERNAL; after the deadline of the caller nobody waits for it. */
  answerLater(message: Promise<Uint8Array>): void {
    const leftMs = this.leftMs()
    if (leftMs !== undefined && leftMs < longestTimer) this.timer = setTimeout(() => this.late(), Math.max(0, leftMs))
    message.then(
      (whole) => this.answer(whole),
      () => this.refuse(failed),
    )
  }

  /** Writes one message of a server-streaming method; `finish` ends the call. */
  write(message: Uint8Array): void {
    if (this.state === 'answered' || this.gone) return
    if (!this.stream.headersSent) this.stream.respond(answerHeaders, withTrailers)
    this.stream.write(framed(message))
  }

  /** Ends a server-streaming call with OK. */
  finish(): void {
    if (this.settle()) this.stream.end()
  }

  /** Ends the call without a message. */
  refuse(how: Refusal): void {
    if (!this.settle()) return
    if (this.stream.headersSent) {
      this.stream.close(constants.NGHTTP2_CANCEL)
      return
    }
    refuseStream(this.stream, how)
    // Its end is often in the frame that is being read; one that sends on is asked to stop.
    if (!this.stream.readableEnded) setImmediate(closeUnlessEnded, this.stream)
  }

  /** The deadline of the caller, or the time for its message, has passed. */
  late(): void {
    this.refuse(tooLate)
  }

  /** Lets go of all that is kept for the call: its stream is closed. */
  leave(): void {
    this.settle()
  }

  private get gone(): boolean {
    return this.stream.closed || this.stream.destroyed
  }

  /** @returns whether this was the moment to answer, and there is someone to answer */
  private settle(): boolean {
    if (this.state === 'answered') return false
    this.state = 'answered'
    this.seen = 0
    this.reader.forget()
    if (this.timer) clearTimeout(this.timer)
    return !this.gone
  }

  private data(chunk: Buffer): void {
    if (this.state === 'reading') {
      const message = this.reader.read(chunk)
      if (message === undefined) return
      if (unreadable(message)) this.refuse(message)
      else this.whole(message)
    } else if (this.state === 'deciding' && chunk.length > 0) this.refuse(moreThanOne)
  }

  private whole(message: Buffer): void {
    this.state = 'deciding'
    this.seen = 0
    try {
      this.method(this, message)
    } catch {
      this.refuse(failed)
    }
  }

  private end(): void {
    if (this.state === 'reading') this.refuse(noMessage)
  }
}

/** Shared by all streams: the connection has taken the answer, and its trailers may follow. */
function sendTrailers(this: ServerHttp2Stream): void {
  this.sendTrailers(okTrailers)
  // A client that has its answer and sends on is asked to stop (RFC 9113, 8.1).
  if (!this.readableEnded) setTimeout(closeUnlessEnded, lingerMs, this).unref()
}

function closeUnlessEnded(stream: ServerHttp2Stream): void {
  if (!stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR)
}

/** Answers a stream in one frame. */
export function refuseStream(stream: ServerHttp2Stream, { headers }: Refusal): void {
  if (!stream.closed && !stream.destroyed) stream.respond(headers, noMore)
}

function framed(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(5 + message.length)
  frame[0] = 0
  frame.writeUInt32BE(message.length, 1)
  frame.set(message, 5)
  return frame
}
