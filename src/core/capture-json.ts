import { isUtf8 } from 'node:buffer'
import type { JsonPointer } from './json-pointer.ts'

/** A JSON text (RFC 8259) that has been read whole once, so that parts of it can be cut out with every byte of theirs. */
export interface JsonText {
  readonly text: string
}

/** A value within a text: from its first character up to, and without, the one after its last. */
export interface JsonSpan {
  readonly from: number
  readonly to: number
}

/** @returns undefined where the bytes are no UTF-8, or no JSON */
export function readJsonText(body: Buffer): JsonText | undefined {
  if (!isUtf8(body)) return undefined
  const text = body.toString('utf8')
  try {
    JSON.parse(text)
    return { text }
  } catch {
    return undefined
  }
}

/**
 * The value that a pointer names.
 * @param within where the pointer begins; absent: the whole document
 * @returns undefined where there is none; `twice` where an object on the way has the member more than once, so that another
 *   parser may find another value
 */
export function spanAt(json: JsonText, pointer: JsonPointer, within?: JsonSpan): JsonSpan | 'twice' | undefined {
  const { text } = json
  const start = within?.from ?? skipSpace(text, 0)
  let span: JsonSpan = within ?? { from: start, to: skipValue(text, start) }
  for (const token of pointer) {
    const next = text[span.from] === '{' ? memberOf(text, span, token) : text[span.from] === '[' ? elementOf(text, span, token) : undefined
    if (next === undefined || next === 'twice') return next
    span = next
  }
  return span
}

/** The elements of an array. @returns `no array`, or `too many` where there are more than `most` */
export function elementsAt({ text }: JsonText, array: JsonSpan, most: number): readonly JsonSpan[] | 'no array' | 'too many' {
  if (text[array.from] !== '[') return 'no array'
  const found: JsonSpan[] = []
  for (const element of elements(text, array)) {
    if (found.length >= most) return 'too many'
    found.push(element)
  }
  return found
}

const integer = /^-?(?:0|[1-9]\d*)$/

/** An id as a document writes it: a string, or an integer with just its digits; undefined for anything else. */
export function idAt({ text }: JsonText, { from, to }: JsonSpan): string | undefined {
  const raw = text.slice(from, to)
  if (raw[0] === '"') return JSON.parse(raw) as string
  return integer.test(raw) ? raw : undefined
}

// From here on the text is known to be JSON: only where a value ends has to be found.

function memberOf(text: string, object: JsonSpan, name: string): JsonSpan | 'twice' | undefined {
  let found: JsonSpan | undefined
  let i = skipSpace(text, object.from + 1)
  while (text[i] !== '}') {
    const keyEnd = skipString(text, i)
    const raw = text.slice(i + 1, keyEnd - 1)
    const key = raw.includes('\\') ? (JSON.parse(text.slice(i, keyEnd)) as string) : raw
    const from = skipSpace(text, skipSpace(text, keyEnd) + 1)
    const to = skipValue(text, from)
    if (key === name) {
      if (found) return 'twice'
      found = { from, to }
    }
    i = skipComma(text, to)
  }
  return found
}

function elementOf(text: string, array: JsonSpan, token: string): JsonSpan | undefined {
  if (!/^(?:0|[1-9]\d{0,8})$/.test(token)) return undefined
  let left = Number(token)
  for (const element of elements(text, array)) if (left-- === 0) return element
  return undefined
}

function* elements(text: string, array: JsonSpan): Generator<JsonSpan, void> {
  let from = skipSpace(text, array.from + 1)
  while (text[from] !== ']') {
    const to = skipValue(text, from)
    yield { from, to }
    from = skipComma(text, to)
  }
}

/** Where the next value begins, or the bracket that closes. */
function skipComma(text: string, after: number): number {
  const i = skipSpace(text, after)
  return text[i] === ',' ? skipSpace(text, i + 1) : i
}

function skipSpace(text: string, from: number): number {
  let i = from
  for (;;) {
    const code = text.charCodeAt(i)
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return i
    i++
  }
}

function skipString(text: string, from: number): number {
  let i = from + 1
  for (;;) {
    const code = text.charCodeAt(i)
    if (code === 0x22) return i + 1
    i += code === 0x5c ? 2 : 1
  }
}

function skipValue(text: string, from: number): number {
  const first = text.charCodeAt(from)
  if (first === 0x22) return skipString(text, from)
  if (first !== 0x7b && first !== 0x5b) return skipScalar(text, from)
  let depth = 0
  let i = from
  for (;;) {
    const code = text.charCodeAt(i)
    if (code === 0x22) {
      i = skipString(text, i)
      continue
    }
    i++
    if (code === 0x7b || code === 0x5b) depth++
    else if ((code === 0x7d || code === 0x5d) && --depth === 0) return i
  }
}

/** A number, or one of the three names. */
function skipScalar(text: string, from: number): number {
  let i = from
  while (i < text.length) {
    const code = text.charCodeAt(i)
    if (code === 0x2c || code === 0x5d || code === 0x7d || code <= 0x20) break
    i++
  }
  return i
}
