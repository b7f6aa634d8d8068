import { isIP } from 'node:net'
import { z } from 'zod'
import type { JsonObject } from '../core/json.ts'
import { annotationOf, type Labels, labelRevision, marks, ownerLabels, ownerLabelValue, ownerOf, partsOf } from '../core/ownership.ts'
import { parseSharedWith } from '../core/shared-with.ts'
import type { LabelRules } from './ports.ts'

// A lone surrogate has no UTF-8 of its own: two such texts would have one hash.
const unicode = (most: number) =>
  z
    .string()
    .max(most)
    .refine((text) => text.isWellFormed(), { error: 'expected text in Unicode' })

/** A Kubernetes label's name: an optional DNS prefix, and a name. */
export const labelName = z
  .string()
  .max(317)
  .regex(/^(?:[a-z0-9.-]{1,253}\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/, {
    error: 'expected label names such as example.com/owner',
  })
/** A list of those that a resource is shared with is the longest that there is. */
export const labelValue = unicode(8192)
/** Every check of the resource reads all of its labels, and keeps them near. */
export const mostLabels = 64
export const tooManyLabels = `expected at most ${mostLabels} labels`
export const labelMap = z
  .record(labelName, labelValue)
  .refine((labels) => Object.keys(labels).length <= mostLabels, { error: tooManyLabels })
export const subject = unicode(1024).min(1)
/** Why a change is made, for the audit trail. */
export const reason = z
  .string()
  .min(1)
  .max(256)
  .regex(/^\P{C}*$/u, { error: 'expected a reason without control characters' })

const legalValue = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?$/
const hashed = /^sha256-[a-z2-7]{52}$/
const printable = /^\P{C}*$/u

/** Whether an element of a list of shares is one: what none of them is, shares nothing, and whoever wrote it would not know. */
function isShare(element: string): boolean {
  const { subjects, roles, groups } = parseSharedWith(element)
  return subjects.size + roles.size + groups.size === 1
}

/** What was expected of a label's value; undefined where it may stand. */
function valueFault(rules: LabelRules, name: string, value: string): string | undefined {
  if (name === rules.shared) {
    if (value === '' || value.split(',').every(isShare)) return undefined
    return `${name}: expected subjects, role:NAME and group:NAME, joined with commas, each percent-encoded, with ";write" where it may write`
  }
  if (name === rules.tenant)
    return value.length <= 1024 && printable.test(value)
      ? undefined
      : `${name}: expected at most 1024 characters, none of them a control character`
  if (name === rules.endpoint?.label) {
    const [, host = '', port = ''] = /^\[?([0-9A-Fa-f.:]+?)\]?:([1-9][0-9]{0,4})$/.exec(value) ?? []
    const bracketed = value.startsWith('[') === (isIP(host) === 6)
    if (isIP(host) !== 0 && bracketed && Number(port) < 65_536 && rules.endpoint.allows(host)) return undefined
    return `${name}: expected ip:port, with an address in ownership.endpoint.networks`
  }
  return legalValue.test(value) ? undefined : `${name}: expected a label value, at most 63 letters, digits, "-", "_" and "."`
}

/** Members of a record for a label that is given; that of the owner or the tenant may hold text that is no label value. */
export function labelMembers(rules: LabelRules, name: string, value: string): [name: string, value: string][] | string {
  if (name !== rules.owner) {
    const fault = valueFault(rules, name, value)
    if (fault !== undefined) return fault
    if (name !== rules.tenant) return [[name, value]]
  } else if (value.length > 1024) return `${name}: expected a subject of at most 1024 characters`
  // What is no label value stands there as its hash: so checks look for it.
  return value === '' || hashed.test(value) ? [[name, value]] : ownerLabels(name, value)
}

/** A record of labels that are given, and nothing else; or what was expected of them. */
export function readLabels(rules: LabelRules, given: Readonly<Record<string, string>>): Map<string, string> | string {
  const record = new Map<string, string>()
  for (const [name, value] of Object.entries(given)) {
    const members = labelMembers(rules, name, value)
    if (typeof members === 'string') return members
    for (const [key, written] of members) record.set(key, written)
  }
  return record
}

/**
 * A record with another owner: other labels stay, and so does who it is shared with; an orphan is none any more.
 * @param before undefined: nothing was known
 */
export function withOwner(label: string, before: Labels | undefined, owner: string): Map<string, string> {
  const after = new Map(before)
  after.delete(annotationOf(label))
  after.delete(marks.orphan)
  for (const [name, value] of ownerLabels(label, owner)) after.set(name, value)
  return after
}

/** The owner that a record names; undefined where it is nobody's. */
export const namedOwner = (label: string, record: Labels | undefined): string | undefined => (record && ownerOf(label, record)) || undefined

/** Whether a record's owner is a subject: the label decides, as it does for requests. */
export const isOwner = (label: string, record: Labels, who: string): boolean => record.get(label) === ownerLabelValue(who)

/** A record as it is told: `{resource, id, owner?, labels, annotations?, marks?, revision}`. */
export function show(resource: string, id: string, label: string, record: Labels): JsonObject {
  const { labels, annotations, marks } = partsOf(record)
  const owner = namedOwner(label, record)
  return {
    resource,
    id,
    ...(owner !== undefined && { owner }),
    labels: Object.fromEntries(labels),
    ...(annotations.size > 0 && { annotations: Object.fromEntries(annotations) }),
    ...(marks.size > 0 && { marks: Object.fromEntries(marks) }),
    revision: record.size > 0 ? labelRevision(record) : null,
  }
}
