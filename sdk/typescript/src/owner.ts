import { createHash } from 'node:crypto'

/** The name of the owner's label, and of the annotation. */
export const ownerLabel = 'agentcube.io/owner'

// A Kubernetes label value: at most 63 characters, alphanumeric at both ends.
const legal = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/
const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'

export interface OwnerMetadata {
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

/**
 * How a subject is written as the owner of a Kubernetes object: in the label; where it is illegal there, or begins with `sha256-`, as
 * `sha256-` and the base32 of its SHA-256, with the subject itself in an annotation of the same name.
 */
export function ownerMetadata(subject: string, name = ownerLabel): OwnerMetadata {
  if (legal.test(subject) && !subject.startsWith('sha256-')) return { labels: { [name]: subject }, annotations: {} }
  return { labels: { [name]: `sha256-${base32(createHash('sha256').update(subject).digest())}` }, annotations: { [name]: subject } }
}

/** RFC 4648, section 6, in lower case and without padding. */
function base32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? []).map((five) => alphabet[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')
}
