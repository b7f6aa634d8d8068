import { compressed } from './lean-request.ts'
import { code, type Refusal, refusal } from './lean-status.ts'

/** How much may be read, by all calls of one connection. */
export interface ReadLimits {
  /** Bytes of one message. */
  readonly maxReceive: number
  /** Bytes of messages that are not whole yet, of all calls of the connection together: now, and at most. */
  partial: number
  readonly maxPartial: number
}

/** Length-Prefixed-Message of gRPC's PROTOCOL-HTTP2: compressed flag (1 byte), length (4 bytes, big endian), message. */
const prefixBytes = 5

const moreThanOne = refusal(code.unimplemented, 'more than one message was sent to a unary method')
const tooMuch = refusal(code.resourceExhausted, 'too many unfinished messages on this connection')

/** Whether what was read is no message. */
export const unreadable = (read: Buffer | Refusal): read is Refusal => !(read instanceof Uint8Array)

/** Puts the one message of a call together from DATA frames, which may cut it anywhere. */
export class MessageReader {
  private readonly limits: ReadLimits
  private parts: Buffer[] | undefined = undefined
  private gathered = 0

  constructor(limits: ReadLimits) {
    this.limits = limits
  }

  /** @returns the message as soon as it is whole, or why it cannot be read; undefined while more is to come */
  read(chunk: Buffer): Buffer | Refusal | undefined {
    // The usual case: the whole message in one frame.
    if (this.parts === undefined && chunk.length >= prefixBytes) return this.judge(chunk, chunk.length) ?? this.gather(chunk)
    return this.gather(chunk)
  }

  /** Lets go of what was gathered. */
  forget(): void {
    if (this.parts === undefined) return
    this.limits.partial -= this.gathered
    this.parts = undefined
  }

  private gather(chunk: Buffer): Buffer | Refusal | undefined {
    if (chunk.length === 0) return undefined
    this.parts ??= []
    this.parts.push(chunk)
    this.gathered += chunk.length
    this.limits.partial += chunk.length
    if (this.limits.partial > this.limits.maxPartial) return tooMuch
    if (this.gathered < prefixBytes) return undefined
    let head = this.parts[0] as Buffer
    if (head.length < prefixBytes) {
      head = Buffer.concat(this.parts)
      this.parts = [head]
    }
    return this.judge(head, this.gathered)
  }

  /** @param head the prefix and what follows it; all that was read where `total` is its length */
  private judge(head: Buffer, total: number): Buffer | Refusal | undefined {
    const size = head.readUInt32BE(1)
    const { maxReceive } = this.limits
    if (size > maxReceive) return refusal(code.resourceExhausted, `Received message larger than max (${size} vs ${maxReceive})`)
    if (head[0] !== 0) return compressed
    if (total < size + prefixBytes) return undefined
    if (total > size + prefixBytes) return moreThanOne
    const whole = head.length === total ? head : Buffer.concat(this.parts ?? [], total)
    return whole.subarray(prefixBytes)
  }
}
