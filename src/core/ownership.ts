import { createHash } from 'node:crypto'
import { perObject } from './per-object.ts'

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

/** How the members of a record that are no labels begin: a label's name holds no colon. */
const annotationPrefix = 'annotation:'
const markPrefix = 'mark:'

/** Where the subject itself is kept, when its label holds a hash: an annotation of the same name. */
export const annotationOf = (label: string): string => `${annotationPrefix}${label}`

/**
 * What Postern notes of a resource beside its labels. `deleting` and `orphan` hold the decision's id and seconds since the epoch;
 * `source` names who mirrors the record (`kubernetes:<cluster>/<uid>`).
 */
export const marks = { deleting: `${markPrefix}deleting`, orphan: `${markPrefix}orphan`, source: `${markPrefix}source` } as const

/** The labels, annotations and marks of a record apart, without their prefixes. */
export function partsOf(record: Labels): { readonly labels: Labels; readonly annotations: Labels; readonly marks: Labels } {
  const labels = new Map<string, string>()
  const annotations = new Map<string, string>()
  const noted = new Map<string, string>()
  for (const [name, value] of record) {
    if (name.startsWith(annotationPrefix)) annotations.set(name.slice(annotationPrefix.length), value)
    else if (name.startsWith(markPrefix)) noted.set(name.slice(markPrefix.length), value)
    else labels.set(name, value)
  }
  return { labels, annotations, marks: noted }
}

/** The labels of a record, as conditions see them: what else it holds is Postern's own. */
export function labelsAlone(record: Labels): Labels {
  for (const name of record.keys()) if (name.includes(':')) return partsKept(record).labels
  return record
}

const partsKept = perObject(partsOf)

/** How a subject is written as an owner: its label, and the annotation where the label is a hash. */
export function ownerLabels(label: string, owner: string): [name: string, value: string][] {
  const value = ownerLabelValue(owner)
  return value === owner
    ? [[label, value]]
    : [
        [label, value],
        [annotationOf(label), owner],
      ]
}

/** The subject that the labels name as owner; a hash where no annotation says more. */
export const ownerOf = (label: string, labels: Labels): string | undefined => labels.get(annotationOf(label)) ?? labels.get(label)

/** Whether two records say the same, in whatever order. */
export function sameLabels(one: Labels, other: Labels): boolean {
  if (one.size !== other.size) return false
  for (const [name, value] of one) if (other.get(name) !== value) return false
  return true
}

/**
 * The revision of a record: the same for the same content, whoever wrote it, a platform straight to Redis too.
 * @returns 22 characters of base64url
 */
export function labelRevision(labels: Labels): string {
  const sorted = [...labels].sort(([one], [other]) => (one < other ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(sorted)).digest().subarray(0, 16).toString('base64url')
}

/** Kinds of resource and the ids they go by, unless a route's `id_pattern` says otherwise. */
export const resourceKind = /^[a-z][a-z0-9-]*$/
export const defaultIdPattern = /^[A-Za-z0-9._~-]{1,128}$/
