import { createPublicKey, hash, type KeyObject } from 'node:crypto'
import { isJsonObject } from './json.ts'
import { decodeBase64url } from './jwt.ts'

/** Bits. A longer modulus costs more to verify with than anybody gains by it. */
const longestModulus = 4096
/** Bytes: with a long public exponent a signature takes milliseconds to verify. */
const longestExponent = 4

/** Members of the thumbprint of each `kty`, in its order (RFC 7638, section 3.2; RFC 8037, section 2). */
const thumbprintMembers: { readonly [kty: string]: readonly string[] | undefined } = {
  EC: ['crv', 'kty', 'x', 'y'],
  OKP: ['crv', 'kty', 'x'],
  RSA: ['e', 'kty', 'n'],
}
/** Members of private and symmetric keys (RFC 7518, section 6). */
const secretMembers = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/** A public key as a proof carries it: nothing but the members that its thumbprint is made of. */
export interface ProofKey {
  /** RFC 7638: base64url of the SHA-256 of its members. */
  readonly thumbprint: string
  readonly jwk: Readonly<Record<string, string>>
}

/**
 * Reads the `jwk` of a proof's header (RFC 9449, section 4.2), without importing it.
 * @returns what is wrong with it, where it is no public key in one spelling only
 */
export function readProofKey(jwk: unknown): ProofKey | string {
  if (!isJsonObject(jwk)) return 'jwk is missing, or no object'
  if (secretMembers.some((name) => Object.hasOwn(jwk, name))) return 'jwk holds a private or symmetric key'
  const kty = typeof jwk['kty'] === 'string' ? jwk['kty'] : ''
  const names = Object.hasOwn(thumbprintMembers, kty) ? thumbprintMembers[kty] : undefined
  if (!names) return 'kty is none of EC, OKP, RSA'
  const members: Record<string, string> = {}
  for (const name of names) {
    const value = jwk[name]
    const wellFormed = typeof value === 'string' && (name === 'kty' || name === 'crv' || decodeBase64url(value) !== undefined)
    if (!wellFormed) return `${name} of jwk is missing or malformed`
    members[name] = value
  }
  if (kty === 'RSA' && (bytesOf(members['n']) > longestModulus / 8 || bytesOf(members['e']) > longestExponent))
    return `an RSA key of more than ${longestModulus} bits, or with a public exponent of more than ${longestExponent} bytes`
  return { thumbprint: hash('sha256', JSON.stringify(members), 'base64url'), jwk: members }
}

const bytesOf = (text = ''): number => Math.floor((text.length * 3) / 4)

/** The key itself. @returns undefined where there is none such: a point that is not on its curve, a curve that nobody knows */
export function importProofKey({ jwk }: ProofKey): KeyObject | undefined {
  try {
    return createPublicKey({ key: { ...jwk }, format: 'jwk' })
  } catch {
    return undefined
  }
}
