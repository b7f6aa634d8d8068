import { annotationOf, type Labels, marks } from './ownership.ts'

/** What stands in the way; `unreadable` is a record that says nothing. */
export type TakenBy = 'owner' | 'orphan' | 'deleting' | 'tenant' | 'unreadable'

/** What becomes of a new resource's labels, given those that its id has already. */
export type Claim =
  | { readonly kind: 'write'; readonly labels: Labels }
  /** It is the caller's already: a create that was sent again. */
  | { readonly kind: 'own' }
  /** Nobody may have it by making it: its owner is somebody else, or unsettled. */
  | { readonly kind: 'taken'; readonly by: TakenBy }

/** Names of the labels that matter to a claim. */
export interface ClaimRules {
  readonly ownerLabel: string
  readonly tenantLabel: string | undefined
}

const taken = (by: TakenBy): Claim => ({ kind: 'taken', by })

/**
 * Whether who made a resource may be written as its owner.
 * @param seen what is stored of the id; undefined: nothing
 * @param fresh the labels of its maker
 */
export function claimOf(seen: Labels | undefined, fresh: Labels, { ownerLabel, tenantLabel }: ClaimRules): Claim {
  if (seen === undefined) return { kind: 'write', labels: fresh }
  // Something is there that nobody can read, such as a key of another type: it may be anybody's.
  if (seen.size === 0) return taken('unreadable')
  if (seen.has(marks.orphan)) return taken('orphan')
  const owner = seen.get(ownerLabel)
  const mine = owner === fresh.get(ownerLabel)
  if (seen.has(marks.deleting)) {
    // The upstream has made it anew, so that what was asked to go has gone: but only its owner may say so.
    if (!mine) return taken('deleting')
    const source = seen.get(marks.source)
    return { kind: 'write', labels: source === undefined ? fresh : new Map([...fresh, [marks.source, source]]) }
  }
  if (mine) return { kind: 'own' }
  if (owner !== undefined && owner !== '') return taken('owner')
  // Labels without an owner, such as mirrored ones, are completed; they stay what they are.
  if (tenantLabel !== undefined && seen.has(tenantLabel) && seen.get(tenantLabel) !== fresh.get(tenantLabel)) return taken('tenant')
  const kept = [...seen].filter(([name]) => name !== annotationOf(ownerLabel))
  return { kind: 'write', labels: new Map([...kept, ...fresh]) }
}

/** A record with a mark of a decision. @param seconds since the epoch */
export const marked = (labels: Labels | undefined, mark: string, decisionId: string, seconds: number): Labels =>
  new Map([...(labels ?? []), [mark, `${decisionId} ${seconds}`]])

/** A record without a mark. */
export const unmarked = (labels: Labels, mark: string): Labels => new Map([...labels].filter(([name]) => name !== mark))

/** Whether a record has a mark of this decision. */
export const isMarkedBy = (labels: Labels, mark: string, decisionId: string): boolean =>
  labels.get(mark)?.startsWith(`${decisionId} `) ?? false
