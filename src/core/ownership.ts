import { createHash } from 'node:crypto'

/** Labels of one resource; values that are no strings never get in. */
export type Labels = ReadonlyMap<string, string>

export const noLabels: Labels = new Map()

/** The owner label's name unless the policy says otherwise. */
export const defaultOwnerLabel = 'agentcube.io/owner'

// A Kubernetes label value: at most 63 characters, alphanumeric at both ends.
const labelValue = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/
const base32 = 'abcdefghijklmnopqrstuvwxyz234567'

/** RFC 4648 section 6, lower case, unpadded. */
function toBase32(bytes: Uint8Array): string {
  let out = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff
    bits += 8
    while (bits >= 5) {
      bits -= 5
      out += base32[(value >>> bits) & 31]
    }
  }
  return bits > 0 ? out + base32[(value << (5 - bits)) & 31] : out
}

/**
 * How a subject stands in the owner label: itself where it is legal as a Kubernetes label value and cannot
 * be taken for a hash, else `sha256-` and the base32 of its SHA-256 (59 characters).
 */
export function ownerLabelValue(subject: string): string {
  if (labelValue.test(subject) && !subject.startsWith('sha256-')) return subject
  return `sha256-${toBase32(createHash('sha256').update(subject).digest())}`
}

/** Kinds of resource and the ids they go by, unless a route's `id_pattern` says otherwise. */
export const resourceKind = /^[a-z][a-z0-9-]*$/
export const defaultIdPattern = /^[A-Za-z0-9._~-]{1,128}$/
