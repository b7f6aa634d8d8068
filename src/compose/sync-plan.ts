import { annotationOf, type Labels, marks, partsOf, sameLabels } from '../core/ownership.ts'
import { mirroredUid, type RecordRules, type Wanted } from './sync-record.ts'

/** Why a record that is there already is not taken over. */
export type ConflictReason =
  /** Another subject owns it, or somebody does and the object names nobody. */
  | 'other_owner'
  /** Something else mirrors it: another cluster, or another program. */
  | 'mirrored_elsewhere'
  /** Another object of this cluster that still exists has the same id. */
  | 'same_id'

/** What is to become of a record for its object. */
export type Plan =
  | { readonly kind: 'write'; readonly next: Labels; readonly how: 'created' | 'changed' | 'adopted' }
  | { readonly kind: 'unchanged' }
  /** The object is about to go, and what was known of it has been forgotten: nothing comes back. */
  | { readonly kind: 'forgotten' }
  | { readonly kind: 'conflict'; readonly reason: ConflictReason }

/**
 * What an object makes of the record that is there. Nothing is taken over that somebody else owns.
 * @param seen the record now; undefined: there is none
 * @param exists whether the object of this uid still exists
 */
export function planOf(rules: RecordRules, wanted: Wanted, seen: Labels | undefined, exists: (uid: string) => boolean): Plan {
  if (seen === undefined) return wanted.terminating ? { kind: 'forgotten' } : { kind: 'write', next: wanted.record, how: 'created' }
  const uid = mirroredUid(rules.cluster, seen)
  if (uid === wanted.uid) {
    const next = merged(rules, wanted.record, seen)
    return sameLabels(seen, next) ? { kind: 'unchanged' } : { kind: 'write', next, how: 'changed' }
  }
  if (uid !== undefined) {
    // The object was made anew under the same name: nothing of the one before holds for it.
    return exists(uid) ? { kind: 'conflict', reason: 'same_id' } : { kind: 'write', next: wanted.record, how: 'changed' }
  }
  if (seen.has(marks.source)) return { kind: 'conflict', reason: 'mirrored_elsewhere' }
  const owner = seen.get(rules.ownerLabel) ?? ''
  if (owner !== '' && owner !== wanted.record.get(rules.ownerLabel)) return { kind: 'conflict', reason: 'other_owner' }
  return { kind: 'write', next: merged(rules, wanted.record, seen), how: 'adopted' }
}

/** Marks stay, and what a capture wrote that the cluster does not say. */
function merged({ tenantLabel, endpointLabel, endpoint }: RecordRules, record: Labels, seen: Labels): Labels {
  const next = new Map(record)
  for (const [mark, value] of partsOf(seen).marks) if (mark !== 'source') next.set(`mark:${mark}`, value)
  const kept = endpoint || endpointLabel === undefined ? [tenantLabel] : [tenantLabel, endpointLabel]
  for (const label of kept)
    if (!next.has(label))
      for (const name of [label, annotationOf(label)]) {
        const value = seen.get(name)
        if (value !== undefined) next.set(name, value)
      }
  return next
}
