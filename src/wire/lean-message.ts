import { compressed } from './lean-request.ts'
import { code, type Refusal, refusal } from './lean-status.ts'
import type { Unfinished, UnfinishedMessage } from './lean-unfinished.ts'

/** How much may be read, by all calls of one connection. */
export interface ReadLimits {
  /** Bytes of one message. */
  readonly maxReceive: number
  /** Messages that are not whole yet, of all calls of the connection together. */
  readonly unfinished: Unfinished
}

/** Length-Prefixed-Message of gRPC's PROTOCOL-HTTP2: compressed flag (1 byte), length (4 bytes, big endian), message. */
const prefixBytes = 5

/** Memory is taken in pieces of at least so many bytes, or as many as are still to come. */
const leastPiece = 4096

const moreThanOne = refusal(code.unimplemented, 'more than one message was sent to a unary method')
const tooMuch = refusal(code.resourceExhausted, 'too many unfinished messages')

/** Whether what was read is no message. */
export const unreadable = (read: Buffer | Refusal): read is Refusal => !(read instanceof Uint8Array)

/** Puts the one message of a call together from DATA frames, which may cut it anywhere. */
export class MessageReader implements UnfinishedMessage {
  private readonly limits: ReadLimits
  /** What has come, copied: a frame, however short, holds on to all that was read from the socket with it. */
  private pieces: Buffer[] | undefined = undefined
  /** Bytes that have come, and bytes of the pieces. */
  private filled = 0
  private room = 0
  private evicted = false

  constructor(limits: ReadLimits) {
    this.limits = limits
  }

  /** @returns the message as soon as it is whole, or why it cannot be read; undefined while more is to come */
  read(chunk: Buffer): Buffer | Refusal | undefined {
    if (this.evicted) return tooMuch
    return this.pieces !== undefined && this.filled < prefixBytes ? this.add(this.afterHead(this.pieces[0], chunk)) : this.add(chunk)
  }

  /** Lets go of what was gathered. */
  forget(): void {
    if (this.pieces === undefined) return
    this.limits.unfinished.give(this, this.room)
    this.pieces = undefined
    this.filled = 0
    this.room = 0
  }

  evict(): void {
    this.forget()
    this.evicted = true
  }

  private add(part: Buffer): Buffer | Refusal | undefined {
    const filled = this.filled + part.length
    if (filled < prefixBytes) return filled === 0 || this.keep(part, prefixBytes) ? undefined : tooMuch
    const head = this.pieces?.[0] ?? part
    const size = head.readUInt32BE(1)
    const { maxReceive } = this.limits
    if (size > maxReceive) return refusal(code.resourceExhausted, `Received message larger than max (${size} vs ${maxReceive})`)
    if (head[0] !== 0) return compressed
    const end = size + prefixBytes
    if (filled > end) return moreThanOne
    // The usual case: the whole message in one frame.
    if (head === part && filled === end) return part.subarray(prefixBytes)
    if (!this.keep(part, end)) return tooMuch
    return filled < end ? undefined : this.whole()
  }

  /** @returns the part of the prefix that has come, with what follows it */
  private afterHead(head: Buffer | undefined, chunk: Buffer): Buffer {
    const together = Buffer.concat([head?.subarray(0, this.filled) ?? chunk.subarray(0, 0), chunk])
    this.forget()
    return together
  }

  /** @param end bytes of the message with its prefix, as far as known @returns whether there is room */
  private keep(part: Buffer, end: number): boolean {
    const free = this.room - this.filled
    const rest = part.length - free
    const last = this.pieces?.at(-1)
    if (last && free > 0) part.copy(last, last.length - free)
    if (rest > 0) {
      const more = Math.min(Math.max(rest, leastPiece), end - this.room)
      if (!this.limits.unfinished.take(this, more)) return false
      // Its own memory: a small buffer of the pool would keep the pool.
      const piece = Buffer.allocUnsafeSlow(more)
      part.copy(piece, 0, free)
      this.pieces ??= []
      this.pieces.push(piece)
      this.room += more
    }
    this.filled += part.length
    return true
  }

  private whole(): Buffer {
    this.limits.unfinished.finish(this)
    const together = Buffer.concat(this.pieces ?? [])
    // What counts until the call is answered is this one.
    this.pieces = [together]
    return together.subarray(prefixBytes)
  }
}
