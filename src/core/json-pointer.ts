import type { Json } from './json.ts'

/** A JSON pointer (RFC 6901), parsed: the reference tokens in order. */
export type JsonPointer = readonly string[]

/** @returns undefined where the text is no JSON pointer (RFC 6901, section 3) */
export function parsePointer(text: string): JsonPointer | undefined {
  if (text === '') return []
  if (!text.startsWith('/') || /~(?![01])/.test(text)) return undefined
  // `~1` before `~0`, so that `~01` becomes `~1` (RFC 6901, section 4).
  return text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

/** The value that a pointer names, or undefined. Only own members and existing elements count. */
export function resolvePointer(document: Json, pointer: JsonPointer): Json | undefined {
  let value: Json | undefined = document
  for (const token of pointer) {
    if (typeof value !== 'object' || value === null) return undefined
    if (Array.isArray(value)) value = /^(?:0|[1-9]\d*)$/.test(token) ? (value as readonly Json[])[Number(token)] : undefined
    else value = Object.hasOwn(value, token) ? (value as { readonly [name: string]: Json })[token] : undefined
    if (value === undefined) return undefined
  }
  return value
}
