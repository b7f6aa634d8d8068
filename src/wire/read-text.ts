import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'

/** Longest text that is kept, in bytes. */
const maxKept = 64
const slots = 4096

// Unknown to those who choose header names.
const seed: number = randomBytes(4).readInt32LE()

/**
 * By byte: 0 where no field name (RFC 9110, section 5.1: a token) may hold it, else the byte, letters in lower case.
 */
export const tokenBytes = new Uint8Array(256)
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") tokenBytes[char.charCodeAt(0)] = char.charCodeAt(0)
for (let i = 0x41; i <= 0x5a; i++) tokenBytes[i] = i + 0x20

/**
 * The hash of a text is FNV-1a: `hashStart`, and for each byte `Math.imul(hash ^ byte, hashFactor)`. Who uses it in a
 * loop makes both an int32 of its own (`| 0`): an import may be anything to the compiler, and costs twice as much.
 */
export const hashFactor = 0x01000193
export const hashStart = seed

/**
 * Texts that come again and again (header names, hosts, methods, peers, claim names), so that each is made once.
 * Two places for each hash: what came last stays. Not for credentials, which must not outlive their request.
 */
export class Texts {
  readonly #kept = new Array<string>(slots).fill('')
  // Apart from the others, so that all of them are in lower case.
  readonly #names = new Array<string>(slots).fill('')

  /** A text of ASCII bytes whose letters are to be lower case. @param hash of its bytes in lower case */
  lower(bytes: Buffer, start: number, end: number, hash: number): string {
    const slot = slotOf(hash)
    const kept = this.#names[slot]!
    if (sameName(bytes, start, end, kept)) return kept
    const second = this.#names[slot + 1]!
    if (sameName(bytes, start, end, second)) return second
    return keep(this.#names, slot, bytes.toString('latin1', start, end).toLowerCase())
  }

  /** A text as it is. @returns undefined where the bytes are no UTF-8 */
  read(bytes: Buffer, start: number, end: number): string | undefined {
    const length = end - start
    if (length > maxKept) return strictly(bytes, start, end)
    if (length === 0) return ''
    let hash = hashStart | 0
    let all = 0
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      all |= byte
      hash = Math.imul(hash ^ byte, hashFactor)
    }
    if (all > 0x7f) return strictly(bytes, start, end)
    const slot = slotOf(hash)
    const kept = this.#kept[slot]!
    if (sameBytes(bytes, start, end, kept)) return kept
    const second = this.#kept[slot + 1]!
    if (sameBytes(bytes, start, end, second)) return second
    return keep(this.#kept, slot, bytes.toString('latin1', start, end))
  }
}

function keep(texts: string[], slot: number, text: string): string {
  if (text.length > maxKept) return text
  texts[slot + 1] = texts[slot]!
  texts[slot] = text
  return text
}

// The first of two places.
const slotOf = (hash: number): number => (hash ^ (hash >>> 15)) & (slots - 2)

const strictly = (bytes: Buffer, start: number, end: number): string | undefined =>
  isUtf8(bytes.subarray(start, end)) ? bytes.toString('utf8', start, end) : undefined

/** Whether ASCII bytes are this text. */
export function sameBytes(bytes: Buffer, start: number, end: number, text: string): boolean {
  if (end - start !== text.length) return false
  for (let i = 0; i < text.length; i++) if (bytes[start + i] !== text.charCodeAt(i)) return false
  return true
}

/** Whether bytes are this field name, the case of letters apart. @param name in lower case */
export function sameName(bytes: Buffer, start: number, end: number, name: string): boolean {
  if (end - start !== name.length) return false
  for (let i = 0; i < name.length; i++) {
    const byte = bytes[start + i]!
    if (byte !== name.charCodeAt(i) && tokenBytes[byte] !== name.charCodeAt(i)) return false
  }
  return true
}
