import { contentAt, endAt } from './read-wire.ts'

// An import is looked up at each use; these are not.
const begins = contentAt
const ends = endAt

/** Members of one object that are brought into order. */
const maxMembers = 128
const indexBits = maxMembers - 1
const maxDepth = 32
// Numbers of one member: where its entry begins, where its value begins, where both end.
const stride = 3

/** Copies a google.protobuf.Struct with the members of all its objects in an order that depends on their names alone. */
export class StructOrder {
  readonly #ordered: Buffer
  // Bytes are read and written four at a time.
  readonly #into: DataView
  readonly #members = new Int32Array(maxMembers * stride * maxDepth)
  readonly #sorted = new Int32Array(maxMembers * maxDepth)

  /** @param maxLength of a Struct, in bytes */
  constructor(maxLength: number) {
    this.#ordered = Buffer.alloc(maxLength)
    this.#into = new DataView(this.#ordered.buffer, this.#ordered.byteOffset, maxLength)
  }

  /**
   * @param start of a Struct that was walked through before
   * @returns a buffer that begins with the copy, which has the same length, until the next call; undefined where the
   * Struct is written in another way than Envoy does, or has too many members
   */
  copy(message: Buffer, start: number, end: number): Buffer | undefined {
    const from = new DataView(message.buffer, message.byteOffset, message.length)
    return this.#struct(message, from, start, end, 0, 0) ? this.#ordered : undefined
  }

  #struct(bytes: Buffer, from: DataView, start: number, end: number, to: number, depth: number): boolean {
    if (depth === maxDepth) return false
    const members = this.#members
    const sorted = this.#sorted
    const first = depth * maxMembers
    let count = 0
    for (let pos = start; pos < end; count++) {
      // Struct.fields = 1: an entry, and in it key = 1, value = 2
      const stop = ends(bytes, pos + 1)
      const key = begins(bytes, pos + 1)
      if (bytes[pos] !== 0x0a || stop > end || stop - key < 4 || bytes[key] !== 0x0a || count === maxMembers) return false
      const value = ends(bytes, key + 1)
      if (stop - value < 2 || bytes[value] !== 0x12) return false
      const at = (first + count) * stride
      members[at] = pos
      members[at + 1] = value
      members[at + 2] = stop
      // Members are few: each is put into its place among those before.
      const sign = (hash(from, key + 1, value) & ~indexBits) | count
      let place = first + count
      for (; place > first && sorted[place - 1]! > sign; place--) sorted[place] = sorted[place - 1]!
      sorted[place] = sign
      pos = stop
    }
    let at = to
    for (let place = first; place < first + count; place++) {
      const member = (first + (sorted[place]! & indexBits)) * stride
      const entry = members[member]!
      const value = members[member + 1]!
      const stop = members[member + 2]!
      if (!this.#value(bytes, from, entry, value, stop, at, depth)) return false
      at += stop - entry
    }
    return true
  }

  /** Copies what comes before a Value, and the Value, whose tag is at `tag`. */
  #value(bytes: Buffer, from: DataView, start: number, tag: number, end: number, to: number, depth: number): boolean {
    if (ends(bytes, tag + 1) !== end) return false
    const content = begins(bytes, tag + 1)
    // Value.struct_value = 5, Value.list_value = 6
    const kind = content < end ? bytes[content] : 0
    if (kind !== 0x2a && kind !== 0x32) {
      copyBytes(from, this.#into, start, end, to)
      return true
    }
    if (ends(bytes, content + 1) !== end) return false
    const inner = begins(bytes, content + 1)
    copyBytes(from, this.#into, start, inner, to)
    if (kind === 0x2a) return this.#struct(bytes, from, inner, end, to + inner - start, depth + 1)
    return this.#list(bytes, from, inner, end, to + inner - start, depth + 1)
  }

  #list(bytes: Buffer, from: DataView, start: number, end: number, to: number, depth: number): boolean {
    if (depth === maxDepth) return false
    for (let pos = start; pos < end; ) {
      // ListValue.values = 1
      const stop = ends(bytes, pos + 1)
      if (bytes[pos] !== 0x0a || stop > end) return false
      if (!this.#value(bytes, from, pos, pos, stop, to + pos - start, depth)) return false
      pos = stop
    }
    return true
  }
}

/** Of a name with its length before it. */
function hash(from: DataView, start: number, end: number): number {
  let sum = 0
  let i = start
  for (; i < end - 3; i += 4) sum = Math.imul(sum ^ from.getInt32(i, true), 0x01000193)
  for (; i < end; i++) sum = Math.imul(sum ^ from.getUint8(i), 0x01000193)
  return sum ^ (sum >>> 15)
}

function copyBytes(from: DataView, into: DataView, start: number, end: number, to: number): void {
  let i = start
  let at = to
  for (; i < end - 3; i += 4, at += 4) into.setInt32(at, from.getInt32(i, true), true)
  for (; i < end; i++, at++) into.setUint8(at, from.getUint8(i))
}
