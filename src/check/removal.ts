import { type Caller, isWrite } from '../core/access.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import type { Checked } from '../core/capture-checked.ts'
import { isMarkedBy, marked, unmarked } from '../core/capture-claim.ts'
import { type Labels, marks, noLabels, ownerOf } from '../core/ownership.ts'
import type { Policy } from '../core/policy.ts'
import { Unavailable } from '../core/ports.ts'
import type { RequestStep, ResponseFollower, ResponseStep } from '../core/processing.ts'
import type { OwnerDemand } from '../core/route.ts'
import { changeLabels } from './label-change.ts'
import { type Asked, processingAnswer } from './processor-answers.ts'
import { eventOf, type ProcessorNeeds, secondsNow } from './processor-needs.ts'
import { isPermitted } from './processor-permits.ts'

/** A request that takes a resource away. */
export interface Removing {
  readonly checked: Checked
  readonly caller: Caller
  readonly demand: OwnerDemand
  /** Of the resource. */
  readonly id: string
  readonly policy: Policy
  readonly asked: Asked
}

/**
 * Begins a removal: the labels are marked before the upstream is asked, so that what may be gone is nobody's. It is decided
 * once more on the labels that state has now, as the check may have read a near copy.
 */
export async function beginRemoval(needs: ProcessorNeeds, removing: Removing): Promise<RequestStep> {
  const { checked, caller, demand, id, policy, asked } = removing
  const { resource, bypass } = demand
  const mark = (seen: Labels | undefined): Labels | 'unknown' | 'refused' => {
    if (!isPermitted(policy, caller, bypass, seen, demand, isWrite(asked.method))) return 'refused'
    return seen === undefined ? 'unknown' : marked(seen, marks.deleting, checked.decisionId, secondsNow(needs))
  }
  try {
    const done = await changeLabels(needs.labels, resource, id, mark)
    if (done === 'refused') return { kind: 'answer', answer: processingAnswer('not_owner', asked) }
    // Who need not own may take away what has no labels; there is nothing to mark.
    if (done === 'unknown') return { kind: 'skip' }
    return { kind: 'follow', remove: [], body: false, response: followRemoval(needs, removing, done.seen ?? noLabels) }
  } catch (cause) {
    if (!(cause instanceof Unavailable)) throw cause
    needs.count.released('unavailable')
    // It may have been written all the same, and nothing was asked of the upstream.
    const key = `${resource}:${id} ${checked.decisionId}`
    needs.retries.add('removal', key, async () => void (await takeBack(needs, removing)))
    needs.log.warn({ decision_id: checked.decisionId, detail: cause.message }, 'a removal is refused: its mark cannot be written')
    return { kind: 'answer', answer: processingAnswer('owner_unavailable', asked) }
  }
}

/** Changes the labels as long as they have the mark of this request: who came later says what becomes of them. */
async function whileMarked(needs: ProcessorNeeds, { checked, demand, id }: Removing, next: (seen: Labels) => Labels): Promise<boolean> {
  const done = await changeLabels(needs.labels, demand.resource, id, (seen) =>
    seen !== undefined && isMarkedBy(seen, marks.deleting, checked.decisionId) ? next(seen) : 'theirs',
  )
  return done !== 'theirs'
}

/** @returns whether they were still to be removed */
const release = (needs: ProcessorNeeds, removing: Removing): Promise<boolean> => whileMarked(needs, removing, () => noLabels)
const takeBack = (needs: ProcessorNeeds, removing: Removing): Promise<boolean> =>
  whileMarked(needs, removing, (seen) => unmarked(seen, marks.deleting))

type Settling = 'released' | 'refused' | 'accepted' | 'unsettled'

/** What a status says about the resource. */
function settling(status: number): Settling {
  // It will go, some time: until then it is nobody's.
  if (status === 202) return 'accepted'
  if ((status >= 200 && status < 300) || status === 404 || status === 410) return 'released'
  return status < 500 ? 'refused' : 'unsettled'
}

function followRemoval(needs: ProcessorNeeds, removing: Removing, before: Labels): ResponseFollower {
  const { checked, caller, demand, id, policy } = removing
  const { resource } = demand
  const { decisionId } = checked
  const key = `${resource}:${id}`
  const owner = ownerOf(policy.ownerLabel, before)
  const event: AuditEvent = eventOf(needs, policy.realm, {
    type: 'owner_released',
    outcome: 'success',
    actor: caller.facts.subject,
    decisionId,
    target: key,
    detail: { route: checked.route, before: owner ?? null },
  })
  let over = false

  const settle = async (kind: Settling): Promise<ResponseStep> => {
    needs.count.released(kind)
    let released = false
    const job = async (): Promise<void> => {
      if (kind === 'refused') await takeBack(needs, removing)
      else if (released || (await release(needs, removing))) {
        released = true
        await needs.audit.commit(event)
      }
    }
    try {
      await job()
    } catch (cause) {
      // The client is told what the upstream said; until this is done the mark denies.
      const detail = cause instanceof Error ? cause.message : 'failed'
      needs.log.warn({ decision_id: decisionId, resource: key, detail }, 'the labels of a removed resource wait for state')
      needs.retries.add('removal', `${key} ${decisionId}`, job)
    }
    return { kind: 'pass' }
  }
  const leave = (kind: 'accepted' | 'unsettled', detail: string): void => {
    needs.count.released(kind)
    needs.log.warn({ decision_id: decisionId, resource: key, detail }, 'a resource stays marked: whether it is gone is not known')
  }

  return {
    headers: (status) => {
      over = true
      const kind = settling(status)
      if (kind === 'released' || kind === 'refused') return settle(kind)
      leave(kind, `the upstream answered ${status}`)
      return { kind: 'pass' }
    },
    body: () => ({ kind: 'pass' }),
    lost: (why) => {
      if (!over) leave('unsettled', why)
      over = true
    },
  }
}
