/** Bytes that are at hand beside what was asked for: tags, lengths and numbers are written without asking. */
const slack = 64

/**
 * Writes a protobuf message from its end to its beginning: so every length is known when it is due, and nothing is
 * measured beforehand or moved afterwards. One is used again and again; what it hands out is a copy.
 */
export class WireWriter {
  #bytes: Buffer
  #at: number

  /** @param size bytes to begin with; it grows with what is written */
  constructor(size = 16_384) {
    this.#bytes = Buffer.allocUnsafeSlow(size)
    this.#at = size
  }

  /** Begins anew. */
  reset(): void {
    this.#at = this.#bytes.length
  }

  /** How many bytes have been written: the difference of two is a length. */
  get written(): number {
    return this.#bytes.length - this.#at
  }

  /** All that was written, in a buffer of its own. */
  copy(): Buffer {
    const length = this.written
    const out = Buffer.allocUnsafe(length)
    out.set(this.#bytes.subarray(this.#at), 0)
    return out
  }

  #room(bytes: number): void {
    if (this.#at >= bytes + slack) return
    const written = this.written
    const grown = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, written + bytes + slack))
    grown.set(this.#bytes.subarray(this.#at), grown.length - written)
    this.#at = grown.length - written
    this.#bytes = grown
  }

  byte(value: number): void {
    this.#room(1)
    this.#bytes[--this.#at] = value
  }

  /** A varint (Protocol Buffers encoding) of a whole number from 0 to 2^31 - 1. */
  varint(value: number): void {
    this.#room(5)
    const bytes = this.#bytes
    if (value < 0x80) {
      bytes[--this.#at] = value
      return
    }
    let length = 2
    for (let rest = value >>> 14; rest > 0; rest >>>= 7) length++
    this.#at -= length
    let at = this.#at
    let rest = value
    while (rest > 0x7f) {
      bytes[at++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    bytes[at] = rest
  }

  /** Closes a length-delimited field that holds what was written since. @param from `written` before its content */
  delimited(tag: number, from: number): void {
    this.varint(this.written - from)
    this.#bytes[--this.#at] = tag
  }

  /** What was encoded before. */
  raw(bytes: Uint8Array): void {
    this.#room(bytes.length)
    this.#at -= bytes.length
    this.#bytes.set(bytes, this.#at)
  }

  /** google.protobuf double */
  double(value: number): void {
    this.#room(8)
    this.#at -= 8
    this.#bytes.writeDoubleLE(value, this.#at)
  }

  /** Text that is known to be ASCII. */
  ascii(text: string): void {
    const { length } = text
    this.#room(length)
    this.#at -= length
    // A call out of JavaScript pays for all but the shortest.
    if (length > 12) {
      this.#bytes.write(text, this.#at, length, 'latin1')
      return
    }
    const bytes = this.#bytes
    let at = this.#at
    for (let i = 0; i < length; i++) bytes[at++] = text.charCodeAt(i)
  }

  /** Any text, as UTF-8. */
  utf8(text: string): void {
    const length = Buffer.byteLength(text)
    this.#room(length)
    this.#at -= length
    this.#bytes.write(text, this.#at, length, 'utf8')
  }
}
