import type { KubernetesObject } from '../adapters/kubernetes-object.ts'
import { annotationOf, defaultIdPattern, type Labels, marks, ownerLabels } from '../core/ownership.ts'
import { parseSharedWith, type Share, sharedWithText } from '../core/shared-with.ts'

/** Which part of an object is its id in Postern. */
export type IdSource =
  | { readonly kind: 'name' }
  | { readonly kind: 'namespace.name' }
  | { readonly kind: 'label' | 'annotation'; readonly key: string }

/** How objects become records. */
export interface RecordRules {
  /** Name of this cluster: it stands in `mark:source`. */
  readonly cluster: string
  readonly id: IdSource
  /** What is put before the subjects that the cluster names. */
  readonly prefix: string
  readonly ownerLabel: string
  readonly sharedLabel: string | undefined
  readonly tenantLabel: string
  /** The label of endpoints, whoever writes them; undefined: the policy has none. */
  readonly endpointLabel: string | undefined
  /** A port, or the name of one, whose address is the endpoint; undefined: endpoints are not mirrored. */
  readonly endpoint: { readonly label: string; readonly port: number | string } | undefined
}

/** A record as an object wants it. */
export interface Wanted {
  readonly id: string
  readonly uid: string
  readonly terminating: boolean
  readonly record: Labels
  /** What of the object could not be taken over, for the log. */
  readonly left: readonly LeftOut[]
}

/** What is not taken over: the object then has no owner, or is shared with fewer. */
export type LeftOut =
  /** The owner or a share is a hash, and subjects here have a prefix: whose hash it would be cannot be known. */
  | 'hashed_subject'
  /** An owner that is empty, too long, or no text in Unicode. */
  | 'illegal_owner'
  /** A tenant that is empty or too long. */
  | 'illegal_tenant'
  /** An element of the shares that is none, or shares that are too many. */
  | 'illegal_share'

/** Why an object has no record. */
export type Skipped = 'no_id' | 'illegal_id' | 'too_many_labels'

/** Subjects are this long at most, in characters, as in the label API. */
const mostSubject = 1024
/** Every check of a resource reads all of its labels. */
export const mostLabels = 64
const mostShared = 8192

const sourcePrefix = (cluster: string): string => `kubernetes:${cluster}/`

/** The uid of the object that a record mirrors; undefined where it mirrors none of this cluster. */
export function mirroredUid(cluster: string, record: Labels): string | undefined {
  const source = record.get(marks.source)
  const prefix = sourcePrefix(cluster)
  return source?.startsWith(prefix) ? source.slice(prefix.length) : undefined
}

/** The record that mirrors an object, or why there is none. */
export function wantedOf(object: KubernetesObject, rules: RecordRules): Wanted | Skipped {
  const id = idOf(object, rules.id)
  if (id === undefined || id === '') return 'no_id'
  if (!defaultIdPattern.test(id)) return 'illegal_id'
  if (object.labels.size > mostLabels) return 'too_many_labels'
  const left: LeftOut[] = []
  // A colon is in no label's name: it would pass for a mark or an annotation of ours.
  const record = new Map([...object.labels].filter(([name]) => !name.includes(':')))
  const take = (label: string, value: (text: string) => Iterable<readonly [string, string]>): void => {
    // The annotation holds what is no legal label value, so it wins.
    const text = object.annotations.get(label) ?? object.labels.get(label)
    record.delete(label)
    if (text !== undefined) for (const [name, said] of value(text)) record.set(name, said)
  }
  const { ownerLabel, sharedLabel, tenantLabel, endpoint } = rules
  take(ownerLabel, (text) => ownerOfText(ownerLabel, text, rules.prefix, left))
  if (sharedLabel !== undefined) take(sharedLabel, (text) => sharesOf(sharedLabel, text, rules.prefix, left))
  take(tenantLabel, (text) => {
    if (hashed.test(text)) return [[tenantLabel, text]]
    // As an owner: where it is no label value, a hash stands for it.
    if (legalSubject(text)) return ownerLabels(tenantLabel, text)
    left.push('illegal_tenant')
    return []
  })
  if (endpoint) {
    record.delete(endpoint.label)
    const port = typeof endpoint.port === 'number' ? endpoint.port : object.ports.get(endpoint.port)
    if (object.ip !== undefined && port !== undefined && !object.terminating)
      record.set(endpoint.label, `${object.ip.includes(':') ? `[${object.ip}]` : object.ip}:${port}`)
  }
  record.set(marks.source, `${sourcePrefix(rules.cluster)}${object.uid}`)
  return { id, uid: object.uid, terminating: object.terminating, record, left }
}

function idOf({ name, namespace, labels, annotations }: KubernetesObject, source: IdSource): string | undefined {
  switch (source.kind) {
    case 'name':
      return name
    case 'namespace.name':
      // A namespace holds no dot: two pairs never give one id.
      return `${namespace}.${name}`
    case 'label':
      return labels.get(source.key)
    case 'annotation':
      return annotations.get(source.key)
  }
}

const hashed = /^sha256-[a-z2-7]{52}$/
const legalSubject = (text: string): boolean => text !== '' && text.length <= mostSubject && text.isWellFormed()

function ownerOfText(label: string, text: string, prefix: string, left: LeftOut[]): Iterable<readonly [string, string]> {
  if (hashed.test(text)) {
    if (prefix === '') return [[label, text]]
    left.push('hashed_subject')
    return []
  }
  if (legalSubject(text)) return ownerLabels(label, prefix + text)
  left.push('illegal_owner')
  return []
}

/** Elements that name subjects get the prefix; roles and groups are the policy's own names. */
function sharesOf(label: string, text: string, prefix: string, left: LeftOut[]): Iterable<readonly [string, string]> {
  const shares: Share[] = []
  for (const part of text.split(',').map((piece) => piece.trim())) {
    if (part === '') continue
    const { subjects, roles, groups } = parseSharedWith(part)
    for (const [name, write] of roles) shares.push({ kind: 'role', name, write })
    for (const [name, write] of groups) shares.push({ kind: 'group', name, write })
    for (const [name, write] of subjects) {
      if (prefix !== '' && hashed.test(name)) left.push('hashed_subject')
      else if (legalSubject(name)) shares.push({ kind: 'subject', name: prefix + name, write })
      else left.push('illegal_share')
    }
    if (subjects.size + roles.size + groups.size === 0) left.push('illegal_share')
  }
  const joined = sharedWithText(shares)
  if (joined.length <= mostShared) return joined === '' ? [] : [[label, joined]]
  left.push('illegal_share')
  return []
}

/** What a record says of who may use it, for the audit trail: owner, shares and tenant. */
export function accessOf(rules: Pick<RecordRules, 'ownerLabel' | 'sharedLabel' | 'tenantLabel'>, record: Labels | undefined): string {
  const { ownerLabel, sharedLabel, tenantLabel } = rules
  const names = [ownerLabel, annotationOf(ownerLabel), sharedLabel, tenantLabel]
  return JSON.stringify(names.map((name) => (name === undefined ? null : (record?.get(name) ?? null))))
}
