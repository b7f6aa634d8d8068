import { isUtf8 } from 'node:buffer'
import { headerMap, headerValue, httpRequest } from './read-fields.ts'
import { atHash, atName, atNameEnd, atValue, atValueEnd, type Headers, stride } from './read-headers.ts'
import { hashFactor as factor, hashStart, tokenBytes } from './read-text.ts'
import { contentAt, endAt, type Wire, WireFault } from './read-wire.ts'

/** Fields of one request; Envoy's own limit is 100 unless it is raised. */
const maxHeaders = 1024
const maxPlaces = maxHeaders * stride
// Places of many requests are taken from one array, as Buffers are from a pool.
const slab = 8192
const usual = 100 * stride
// At most half of them are taken.
const slots = maxHeaders * 2

const colon = 0x3a
const headersEntry = httpRequest.parts[3]!
// An import is looked up at each use; these are not.
const tokens = tokenBytes
const begins = contentAt
const ends = endAt
const firstHash = hashStart | 0
const hashFactor = factor | 0

/** Collects the header fields of one message after the other. */
export class HeaderReader {
  // Where this message's fields begin in the slab, and where the next one goes.
  #slab = new Int32Array(slab)
  #first = 0
  #next = 0
  // For finding repeats, by hash: the place of a field since #first, plus the number at which its message began.
  readonly #seen = new Int32Array(slots)
  #base = 0
  #repeats = false

  /** Forgets the message before. */
  begin(): void {
    this.#repeats = false
    this.#first = this.#next
    if (this.#first + usual > slab) {
      this.#slab = new Int32Array(slab)
      this.#first = this.#next = 0
    }
    // What is below belongs to messages before.
    this.#base += maxPlaces
    if (this.#base < 0x7fff0000 - maxPlaces) return
    this.#seen.fill(0)
    this.#base = maxPlaces
  }

  /** Hands over what was collected. */
  finish(headers: Headers): void {
    headers.fill(this.#slab, this.#first, this.#next, this.#repeats)
  }

  /**
   * HttpRequest.headers = 3: entries of the map, one after the other, as long as they are written in the way of all:
   * key = 1, then value = 2, with lengths of two bytes at most. @returns where the first begins that is not
   */
  readEntries(bytes: Buffer, start: number, end: number): number {
    let pos = start
    while (end - pos > 6 && bytes[pos] === 0x1a) {
      const stop = ends(bytes, pos + 1)
      const key = begins(bytes, pos + 1)
      if (stop > end || bytes[key] !== 0x0a) break
      const name = begins(bytes, key + 1)
      const nameEnd = ends(bytes, key + 1)
      if (nameEnd + 1 >= stop || bytes[nameEnd] !== 0x12 || ends(bytes, nameEnd + 1) !== stop) break
      let hash = firstHash
      let i = name
      if (bytes[i] === colon) hash = Math.imul(hash ^ bytes[i++]!, hashFactor)
      if (i >= nameEnd) break
      for (; i < nameEnd; i++) {
        const byte = tokens[bytes[i]!]!
        if (byte === 0) break
        hash = Math.imul(hash ^ byte, hashFactor)
      }
      const at = this.#next
      if (i < nameEnd || at + stride > slab || at - this.#first === maxPlaces) break
      const places = this.#slab
      places[at + atHash] = hash
      places[at + atName] = name
      places[at + atNameEnd] = nameEnd
      places[at + atValue] = begins(bytes, nameEnd + 1)
      places[at + atValueEnd] = stop
      this.#next = at + stride
      this.#note(bytes, at, true)
      pos = stop
    }
    return pos
  }

  /** An entry of the map, in whatever way it is written; `wire` stands at its first byte. */
  readEntry(wire: Wire, end: number): void {
    this.#readField(wire, end, headersEntry)
  }

  /** HttpRequest.header_map = 13. @returns whether it holds any field */
  readMap(wire: Wire, end: number): boolean {
    const before = this.#next
    while (wire.pos < end) {
      const tag = wire.tag(end)
      wire.once(headerMap, tag, 0)
      // HeaderMap.headers = 1
      if (tag === 0x0a) this.#readField(wire, wire.span(end), headerValue)
      else wire.skip(tag, end)
    }
    return this.#next > before
  }

  // An entry of the map: key = 1, value = 2. HeaderValue: the same, and raw_value = 3
  #readField(wire: Wire, end: number, shape: typeof headersEntry): void {
    const { bytes } = wire
    const inMap = shape === headersEntry
    let name = 0
    let nameEnd = 0
    let value = 0
    let valueEnd = 0
    let raw = 0
    let rawEnd = 0
    let seen = 0
    while (wire.pos < end) {
      const tag = wire.tag(end)
      seen = wire.once(shape, tag, seen)
      if (tag === 0x0a) {
        nameEnd = wire.span(end)
        name = wire.pos
        wire.pos = nameEnd
      } else if (tag === 0x12) {
        valueEnd = wire.span(end)
        value = wire.pos
        wire.pos = valueEnd
      } else if (tag === 0x1a && !inMap) {
        rawEnd = wire.span(end)
        raw = wire.pos
        wire.pos = rawEnd
      } else wire.skip(tag, end)
    }
    if (raw < rawEnd) {
      if (!isUtf8(bytes.subarray(raw, rawEnd))) throw new WireFault('a header value is no UTF-8')
      if (value < valueEnd && bytes.compare(bytes, value, valueEnd, raw, rawEnd) !== 0) {
        throw new WireFault('value and raw_value of a header differ')
      }
      value = raw
      valueEnd = rawEnd
    }
    this.#add(bytes, hashName(bytes, name, nameEnd), name, nameEnd, value, valueEnd, inMap)
  }

  #add(bytes: Buffer, hash: number, name: number, nameEnd: number, value: number, valueEnd: number, inMap: boolean): void {
    const at = this.#next
    if (at + stride > slab || at - this.#first === maxPlaces) {
      this.#makeRoom(bytes, hash, name, nameEnd, value, valueEnd, inMap)
      return
    }
    const places = this.#slab
    places[at + atHash] = hash
    places[at + atName] = name
    places[at + atNameEnd] = nameEnd
    places[at + atValue] = value
    places[at + atValueEnd] = valueEnd
    this.#next = at + stride
    this.#note(bytes, at, inMap)
  }

  /** Finds out whether the name of the field at this place came before. */
  #note(bytes: Buffer, at: number, inMap: boolean): void {
    const places = this.#slab
    const hash = places[at]!
    const seen = this.#seen
    const base = this.#base - this.#first
    let slot = hash & (slots - 1)
    for (; seen[slot]! >= this.#base; slot = (slot + 1) & (slots - 1)) {
      const before = seen[slot]! - base
      // The first is enough to find those that follow, but for a map, in which each may be the same as any other.
      if (places[before] === hash && this.#isRepeat(bytes, at, before, inMap) && !inMap) return
    }
    seen[slot] = base + at
  }

  /** Goes on in a slab of its own. */
  #makeRoom(bytes: Buffer, hash: number, name: number, nameEnd: number, value: number, valueEnd: number, inMap: boolean): void {
    if (this.#next - this.#first === maxPlaces) throw new WireFault(`more than ${maxHeaders} header fields`)
    const larger = new Int32Array(slab)
    larger.set(this.#slab.subarray(this.#first, this.#next))
    this.#slab = larger
    this.#next -= this.#first
    this.#first = 0
    this.#add(bytes, hash, name, nameEnd, value, valueEnd, inMap)
  }

  /** Whether the field at one place has the name of the one at another, the case of letters apart. */
  #isRepeat(bytes: Buffer, at: number, before: number, inMap: boolean): boolean {
    const places = this.#slab
    const start = places[at + atName]!
    const end = places[at + atNameEnd]!
    const other = places[before + atName]!
    if (end - start !== places[before + atNameEnd]! - other) return false
    let isSame = true
    for (let i = 0; i < end - start; i++) {
      const a = bytes[start + i]!
      const b = bytes[other + i]!
      if (a === b) continue
      if (a === colon || b === colon || tokens[a] !== tokens[b]) return false
      isSame = false
    }
    if (bytes[start] === colon) throw new WireFault('a pseudo-header came more than once')
    // Names that differ in case are different keys of a map; one key twice is no map.
    if (isSame && inMap) throw new WireFault('a header came more than once in the map')
    this.#repeats = true
    return true
  }
}

/** The hash of a field name in lower case. */
function hashName(bytes: Buffer, start: number, end: number): number {
  let hash = firstHash
  let i = start
  // RFC 9110, section 5.1: a token; a leading colon marks the pseudo-headers of HTTP/2.
  if (i < end && bytes[i] === colon) hash = Math.imul(hash ^ bytes[i++]!, hashFactor)
  if (i >= end) throw notToken()
  for (; i < end; i++) {
    const byte = tokens[bytes[i]!]!
    if (byte === 0) throw notToken()
    hash = Math.imul(hash ^ byte, hashFactor)
  }
  return hash
}

const notToken = (): WireFault => new WireFault('a header name is no token')
