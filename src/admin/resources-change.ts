import { setTimeout } from 'node:timers/promises'
import type { JsonObject } from '../core/json.ts'
import { type Labels, labelRevision, partsOf, sameLabels } from '../core/ownership.ts'
import { type AdminContext, problem } from './answers.ts'
import type { AdminOptions } from './ports.ts'
import { record } from './record.ts'
import { namedOwner } from './resources-labels.ts'
import type { Place } from './resources-place.ts'

/** So many others may change a resource while one call tries to. */
const mostTries = 10
/** Milliseconds: the longest pause between two tries. */
const longestPause = 20
/** Characters of a label's value that the audit trail tells. */
const mostTold = 256
/** Labels whose values the audit trail tells. */
const mostLabelsTold = 16

/**
 * `If-Match` or `If-None-Match` (RFC 9110, section 13.1): entity tags, or any; undefined where it is none of that.
 * @param strong as `If-Match` compares: a weak tag matches nothing
 */
function tagsOf(header: string, strong: boolean): readonly string[] | '*' | undefined {
  if (header.trim() === '*') return '*'
  // A revision without its quotes can mean nothing else.
  const tags = header.split(',').map((tag) => /^\s*(W\/)?(?:"([!#-~]*)"|([\w-]+))\s*$/.exec(tag))
  return tags.every((tag) => tag !== null) ? tags.map((tag) => (tag[1] && strong ? 'weak' : (tag[2] ?? tag[3]!))) : undefined
}

/** What must hold of a record before it is changed. */
export type Precondition = (before: Labels | undefined) => boolean

/** The preconditions of a request, or the answer that refuses them. */
export function preconditionOf(c: AdminContext): Precondition | Response {
  const [match, none] = (['if-match', 'if-none-match'] as const).map((name) => {
    const header = c.req.header(name)
    return header === undefined ? null : tagsOf(header, name === 'if-match')
  })
  if (match === undefined || none === undefined)
    return problem(c, 400, 'bad_precondition', 'If-Match, If-None-Match: expected "*", or revisions in double quotes, such as "Xr…"')
  return (before) => {
    const revision = before && labelRevision(before)
    const isIn = (tags: readonly string[] | '*') => revision !== undefined && (tags === '*' || tags.includes(revision))
    return (match === null || isIn(match)) && (none === null || !isIn(none))
  }
}

const etag = (revision: string): Record<string, string> => ({ etag: `"${revision}"` })

/** The strong entity tag of a record: its revision. */
export const tagOf = (labels: Labels): Record<string, string> => (labels.size > 0 ? etag(labelRevision(labels)) : {})

/** A change of one resource. */
export interface Change {
  readonly at: Place
  readonly precondition: Precondition
  /** What becomes of the record (empty: it is forgotten), or the answer that refuses. May be asked again, where somebody else was faster. */
  readonly next: (before: Labels | undefined) => Labels | Response
  readonly reason: string | undefined
}

/**
 * Reads, changes and replaces a record where it still is what was read, and again where it is not: no change of somebody else is
 * lost. In the audit trail before the caller is answered.
 * @returns the record as it is now, or the answer that refuses
 * @throws {Unavailable}
 */
export async function change(
  c: AdminContext,
  options: AdminOptions,
  { at, precondition, next, reason }: Change,
): Promise<Labels | Response> {
  const { labels: store } = options
  for (let tries = 0; tries < mostTries; tries++) {
    if (tries > 0) await setTimeout(Math.random() * longestPause)
    const before = (await store.read(at.resource, at.id))?.labels
    if (!precondition(before)) {
      const detail = before ? 'the labels have another revision now: read them again' : 'this resource has no labels'
      return problem(c, 412, 'revision_conflict', detail, before ? tagOf(before) : {})
    }
    const after = next(before)
    if (after instanceof Response) return after
    if (before === undefined && after.size === 0) return after
    // A record without anything is one that cannot be read: it is there, and is replaced.
    const same = before !== undefined && before.size > 0 && sameLabels(before, after)
    if (!same && !(await store.swap(at.resource, at.id, before, after))) continue
    // What is the same is told too: the first time the trail may have failed after state had taken it.
    await tell(c, options, at, before, after, reason)
    return after
  }
  return problem(c, 409, 'changed_meanwhile', 'others are changing this resource: try again', { 'retry-after': '1' })
}

function tell(
  c: AdminContext,
  options: AdminOptions,
  at: Place,
  before: Labels | undefined,
  after: Labels,
  reason: string | undefined,
): Promise<void> {
  const label = options.ownerLabel()
  const others = differences(label, before ?? new Map(), after)
  return record(options, {
    type: 'owner_changed',
    outcome: 'success',
    actor: c.get('caller').name,
    ...(reason !== undefined && { reason }),
    target: `${at.resource}:${at.id}`,
    detail: {
      before: namedOwner(label, before) ?? null,
      after: namedOwner(label, after) ?? null,
      ...(after.size > 0 && { revision: labelRevision(after) }),
      ...others,
    },
  })
}

/** Labels and marks beside the owner that are others than before: `{ "labels": { "team": [null, "red"] } }`. */
function differences(label: string, before: Labels, after: Labels): JsonObject {
  const [was, is] = [partsOf(before), partsOf(after)]
  const told = (text: string | undefined) => (text === undefined ? null : text.length <= mostTold ? text : `${text.slice(0, mostTold)}…`)
  const between = (one: Labels, other: Labels): [string, (string | null)[]][] =>
    [...new Set([...one.keys(), ...other.keys()])]
      .filter((name) => name !== label && one.get(name) !== other.get(name))
      .map((name) => [name, [told(one.get(name)), told(other.get(name))]])
  const labels = between(was.labels, is.labels)
  const marks = between(was.marks, is.marks)
  return {
    ...(labels.length > 0 && { labels: Object.fromEntries(labels.slice(0, mostLabelsTold)) }),
    ...(labels.length > mostLabelsTold && { more_labels: labels.length - mostLabelsTold }),
    ...(marks.length > 0 && { marks: Object.fromEntries(marks) }),
  }
}
