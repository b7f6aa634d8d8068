import { isJsonObject, type Json, type JsonObject } from './json.ts'
import type { UnverifiedJwt } from './validator.ts'

/** Seconds that clocks may be apart: allowed wherever the times of a token are compared. */
export const clockSkew = 60
/** A longer token is no token. */
export const maxTokenBytes = 8192
/** Deeper claims are refused, so that nothing that walks them can exhaust the stack. */
const maxDepth = 32

// BOMs are kept, so that JSON.parse refuses them.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const alphabet = /^[A-Za-z0-9_-]+$/

/**
 * Decodes base64url as RFC 7515, section 2 has it: unpadded, no white space, and no bits set behind the last
 * byte, so that one value has one spelling only.
 * @returns undefined where `text` is empty or not of this form
 */
export function decodeBase64url(text: string): Buffer | undefined {
  if (!alphabet.test(text)) return undefined
  const rest = text.length % 4
  if (rest === 1) return undefined
  if (rest === 2 && !'AQgw'.includes(text.at(-1)!)) return undefined
  if (rest === 3 && !'AEIMQUYcgkosw048'.includes(text.at(-1)!)) return undefined
  return Buffer.from(text, 'base64url')
}

/**
 * Takes a JWT in compact serialization apart (RFC 7519, section 7.2; RFC 7515, section 5.2), strictly and
 * without verifying anything: what two parsers could read differently is no JWT here. That is: other than
 * three non-empty canonical base64url parts, over 8 KiB, a header or payload that is not a JSON object in
 * UTF-8, names a member twice, or nests deeper than 32.
 */
export function parseJwt(token: string): UnverifiedJwt | undefined {
  if (token.length > maxTokenBytes) return undefined
  const first = token.indexOf('.')
  const second = token.indexOf('.', first + 1)
  if (first < 1 || second < 0 || decodeBase64url(token.slice(second + 1)) === undefined) return undefined
  const header = readPart(token.slice(0, first))
  if (header === undefined) return undefined
  const payload = readPart(token.slice(first + 1, second))
  return payload && { header, payload }
}

/** Longer than any header that Envoy lets through. */
const maxClaimedLength = 65_536

/**
 * The issuer that a token claims which {@link parseJwt} refuses: too long, padded, without a signature. Fit to say whose
 * bad token it is, and for nothing else.
 */
export function claimedIssuer(token: string): string | undefined {
  const payload = token.length > maxClaimedLength ? undefined : token.split('.', 3)[1]
  if (!payload) return undefined
  try {
    const value: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString())
    return isJsonObject(value) && typeof value['iss'] === 'string' ? value['iss'] : undefined
  } catch {
    return undefined
  }
}

function readPart(part: string): JsonObject | undefined {
  const bytes = decodeBase64url(part)
  if (bytes === undefined) return undefined
  try {
    const text = utf8.decode(bytes)
    const value: unknown = JSON.parse(text)
    const named = membersNamed(text)
    // Too deep is -1: such a value is not walked.
    return isJsonObject(value) && named >= 0 && named === membersOf(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** How many members the objects of a valid JSON text name, repeated ones counted again; -1 where it is too deep. */
function membersNamed(text: string): number {
  let depth = 0
  let members = 0
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // a string: on to its closing quote
        for (i++; text.charCodeAt(i) !== 0x22; i++) if (text.charCodeAt(i) === 0x5c) i++
        break
      case 0x7b:
      case 0x5b:
        if (++depth > maxDepth) return -1
        break
      case 0x7d:
      case 0x5d:
        depth--
        break
      case 0x3a:
        members++
    }
  }
  return members
}

/** How many members the objects of a value have: fewer than its text named where one came twice. */
function membersOf(value: Json): number {
  if (value === null || typeof value !== 'object') return 0
  let members = 0
  if (Array.isArray(value)) for (const item of value as readonly Json[]) members += membersOf(item)
  else
    for (const name of Object.keys(value)) {
      members += 1 + membersOf((value as JsonObject)[name]!)
    }
  return members
}
