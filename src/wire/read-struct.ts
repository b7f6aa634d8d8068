import type { Json, JsonObject } from '../core/json.ts'
import type { Texts } from './read-text.ts'
import { Wire } from './read-wire.ts'

/** Claims nest a few levels; what nests deeper is no payload of ours. */
const maxDepth = 32

/**
 * google.protobuf.Struct → JSON, frozen through and through, since one object may stand for many requests.
 * @param start of a message that was walked through before: only its meaning is judged here
 * @returns undefined where it holds anything that is no JSON (NaN, Infinity, a value of no kind or of two, a name
 * twice, a text that is no UTF-8), or nests too deep: part of a payload is not the payload
 */
export function readStruct(bytes: Buffer, start: number, end: number, texts: Texts): JsonObject | undefined {
  const wire = new Wire(bytes)
  wire.pos = start
  return new StructReader(wire, texts).object(end, 0)
}

class StructReader {
  readonly #wire: Wire
  readonly #texts: Texts
  constructor(wire: Wire, texts: Texts) {
    this.#wire = wire
    this.#texts = texts
  }

  /** Struct.fields = 1 */
  object(end: number, depth: number): JsonObject | undefined {
    const wire = this.#wire
    const out: Record<string, Json> = {}
    while (wire.pos < end) {
      const tag = wire.tag(end)
      if (tag !== 0x0a) wire.skip(tag, end)
      else if (!this.#member(out, wire.span(end), depth + 1)) return undefined
    }
    return Object.freeze(out)
  }

  // An entry of Struct.fields: key = 1, value = 2
  #member(out: Record<string, Json>, end: number, depth: number): boolean {
    const wire = this.#wire
    let name: string | undefined = ''
    let value: Json | undefined
    while (wire.pos < end) {
      const tag = wire.tag(end)
      if (tag === 0x0a) name = this.#text(wire.span(end))
      else if (tag === 0x12) value = this.#value(wire.span(end), depth)
      else wire.skip(tag, end)
      // At once: what failed has left the place in the midst of something.
      if (name === undefined || (tag === 0x12 && value === undefined)) return false
    }
    if (value === undefined || Object.hasOwn(out, name)) return false
    // An assignment would set the prototype; JSON.parse makes it a member, and so does this.
    if (name === '__proto__') Object.defineProperty(out, name, { value, enumerable: true, configurable: true, writable: true })
    else out[name] = value
    return true
  }

  // Value: exactly one of null_value = 1, number_value = 2, string_value = 3, bool_value = 4, struct_value = 5, list_value = 6
  #value(end: number, depth: number): Json | undefined {
    const wire = this.#wire
    let value: Json | undefined
    let kinds = 0
    if (depth > maxDepth) return undefined
    while (wire.pos < end) {
      const tag = wire.tag(end)
      const isKnown = tag >>> 3 <= 6
      if (isKnown && ++kinds > 1) return undefined
      if (tag === 0x1a) value = this.#text(wire.span(end))
      else if (tag === 0x11) value = this.#number(end)
      else if (tag === 0x20) value = this.#bool(end)
      else if (tag === 0x2a) value = this.object(wire.span(end), depth)
      else if (tag === 0x32) value = this.#list(wire.span(end), depth)
      else {
        wire.skip(tag, end)
        if (tag === 0x08) value = null
      }
      if (isKnown && value === undefined) return undefined
    }
    return value
  }

  // ListValue.values = 1
  #list(end: number, depth: number): Json | undefined {
    const wire = this.#wire
    const out: Json[] = []
    while (wire.pos < end) {
      const tag = wire.tag(end)
      if (tag !== 0x0a) {
        wire.skip(tag, end)
        continue
      }
      const value = this.#value(wire.span(end), depth + 1)
      if (value === undefined) return undefined
      out.push(value)
    }
    return Object.freeze(out)
  }

  #text(end: number): string | undefined {
    const wire = this.#wire
    const start = wire.pos
    wire.pos = end
    return this.#texts.read(wire.bytes, start, end)
  }

  #number(end: number): number | undefined {
    const wire = this.#wire
    const start = wire.pos
    wire.skip(0x11, end)
    const number = wire.bytes.readDoubleLE(start)
    return Number.isFinite(number) ? number : undefined
  }

  // A bool is written as one byte; parsers differ in what longer ones mean.
  #bool(end: number): boolean | undefined {
    const wire = this.#wire
    const byte = wire.bytes[wire.pos]!
    return wire.varint(end) === 1 && byte <= 1 ? byte === 1 : undefined
  }
}
