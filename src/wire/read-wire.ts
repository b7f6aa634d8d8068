import type { Shape } from './read-fields.ts'

/** What makes a message unreadable. Thrown inside the reader only: no Error, since nobody needs its stack. */
export class WireFault {
  readonly detail: string
  constructor(detail: string) {
    this.detail = detail
  }
}

/** Messages inside messages; protobuf's own parsers stop at 100. */
const maxDepth = 100
/** Groups inside groups: nothing has been written with them for a decade. */
const maxGroups = 16

/**
 * A place in a message in protobuf's encoding. Every read is bounded by the end of the part that is being read, so
 * that no part can reach into the next one. What is malformed throws a WireFault.
 */
export class Wire {
  bytes: Buffer
  pos = 0

  constructor(bytes: Buffer) {
    this.bytes = bytes
  }

  /** The next tag; `pos` must be before `end`. Its wire type is one that can be skipped, its field number not 0. */
  tag(end: number): number {
    const first = this.bytes[this.pos]!
    const tag = first < 0x80 ? first : this.#uint32(end)
    if (first < 0x80) this.pos++
    const type = tag & 7
    if (tag < 8 || type === 4 || type > 5) throw new WireFault('a tag that no field has')
    return tag
  }

  /** Reads the length of what follows, and leaves `pos` at its first byte. @returns where it ends */
  span(end: number): number {
    const pos = this.pos
    if (pos >= end) throw new WireFault('a length is missing')
    const first = this.bytes[pos]!
    let length = first
    if (first < 0x80) this.pos = pos + 1
    else length = this.#uint32(end)
    const stop = this.pos + length
    if (stop > end) throw new WireFault('a length reaches beyond its message')
    return stop
  }

  /** Skips a field of any wire type, known or not. */
  skip(tag: number, end: number): void {
    switch (tag & 7) {
      case 0:
        this.varint(end)
        return
      case 1:
        this.#leap(8, end)
        return
      case 2:
        this.pos = this.span(end)
        return
      case 3:
        this.#group(tag >>> 3, end, 0)
        return
      default:
        this.#leap(4, end)
    }
  }

  /** Skips a varint of up to ten bytes. @returns how many it had */
  varint(end: number): number {
    const { bytes, pos } = this
    for (let i = pos; i < end && i < pos + 10; i++) {
      if (bytes[i]! < 0x80) {
        this.pos = i + 1
        return i + 1 - pos
      }
    }
    throw new WireFault('a varint has no end')
  }

  /**
   * Walks through a message of a known shape up to its end, and all that is in it.
   * @throws WireFault where a field has another wire type than its definition, or comes twice and must not
   */
  walk(shape: Shape, end: number, depth: number): void {
    if (depth > maxDepth) throw new WireFault('messages nest too deep')
    let seen = 0
    while (this.pos < end) {
      // Most fields are texts.
      const next = this.text(shape, seen, end)
      if (next !== 0) {
        seen |= next
        continue
      }
      const tag = this.tag(end)
      seen = this.once(shape, tag, seen)
      this.field(shape, tag, end, depth)
    }
    this.complete(shape, seen)
  }

  /**
   * Walks past a text or bytes that come for the first time, with a length of two bytes at most.
   * @returns bit n for field n; 0 where the next field is another, and the place is as before
   */
  text(shape: Shape, seen: number, end: number): number {
    const { bytes, pos } = this
    const tag = bytes[pos]!
    if (shape.texts[tag] === 0 || end - pos < 2) return 0
    const stop = endAt(bytes, pos + 1)
    const bit = 1 << (tag >>> 3)
    if (stop > end || (seen & bit) !== 0) return 0
    this.pos = stop
    return bit
  }

  /** Walks through one field of a message of a known shape. */
  field(shape: Shape, tag: number, end: number, depth: number): void {
    const field = tag >>> 3
    if (field > 15) {
      this.skip(tag, end)
      return
    }
    if ((tag & 7) === 2) {
      const part = shape.parts[field]
      const stop = this.span(end)
      if (part) this.walk(part, stop, depth + part.levels)
      else this.pos = stop
    } else if ((tag & 7) === 0) {
      const length = this.varint(end)
      // 32 bits take five bytes, and ten where the sign is written out.
      if (length > 5 && length !== 10 && (shape.narrow & (1 << field)) !== 0) throw new WireFault('a number of 32 bits is longer')
    } else this.skip(tag, end)
  }

  /**
   * Notes a field of a message of a known shape. A second occurrence of what is not repeated is refused: parsers
   * differ in whether messages are merged then or the last one wins, and no Envoy sends it.
   * @param seen bit n: field n came
   */
  once(shape: Shape, tag: number, seen: number): number {
    const field = tag >>> 3
    if (field > 15) return seen
    const expected = shape.wireTypes[field]!
    if (expected === 0xff) return seen
    if (expected !== (tag & 7)) throw new WireFault(`${shape.name}: field ${field} is of another type`)
    const bit = 1 << field
    if ((seen & bit & ~shape.repeated) !== 0) throw new WireFault(`${shape.name}: field ${field} came more than once`)
    return seen | bit
  }

  /** @throws WireFault where a message of a known shape lacks what must be there */
  complete(shape: Shape, seen: number): void {
    if ((shape.needed & ~seen) !== 0) throw new WireFault(`${shape.name}: an entry has no value`)
  }

  // A group has no length: it ends with a tag of its own number.
  #group(number: number, end: number, depth: number): void {
    if (depth > maxGroups) throw new WireFault('groups nest too deep')
    while (this.pos < end) {
      const tag = this.#uint32(end)
      if ((tag & 7) === 4) {
        if (tag >>> 3 !== number) break
        return
      }
      if (tag < 8 || (tag & 7) > 5) break
      if ((tag & 7) === 3) this.#group(tag >>> 3, end, depth + 1)
      else this.skip(tag, end)
    }
    throw new WireFault('a group has no end')
  }

  #leap(bytes: number, end: number): void {
    if (this.pos + bytes > end) throw new WireFault('a number is cut off')
    this.pos += bytes
  }

  /** Tags and lengths: five bytes at most, and no bit above the 32nd. */
  #uint32(end: number): number {
    const { bytes } = this
    let result = 0
    for (let i = 0; i < 5; i++) {
      if (this.pos >= end) break
      const byte = bytes[this.pos++]!
      if (i === 4 && byte > 0x0f) break
      result = (result | ((byte & 0x7f) << (7 * i))) >>> 0
      if (byte < 0x80) return result
    }
    throw new WireFault('a tag or length has no end')
  }
}

/** Of a field whose tag is one byte and its length one or two: where its content begins. @param at of the length */
export const contentAt = (bytes: Buffer, at: number): number => (bytes[at]! < 0x80 ? at + 1 : at + 2)

/** Where the content of such a field ends: beyond every message where the length is longer. @param at of the length */
export function endAt(bytes: Buffer, at: number): number {
  const first = bytes[at]!
  if (first < 0x80) return at + 1 + first
  const second = bytes[at + 1]!
  return second < 0x80 ? at + 2 + ((first & 0x7f) | (second << 7)) : 0x7fffffff
}
