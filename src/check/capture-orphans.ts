import type { AuditEvent } from '../core/audit-event.ts'
import { type ClaimRules, claimOf, isMarkedBy, marked } from '../core/capture-claim.ts'
import { type Labels, marks } from '../core/ownership.ts'
import { Unavailable } from '../core/ports.ts'
import type { CaptureTold } from './capture-events.ts'
import { type ProcessorNeeds, secondsNow } from './processor-needs.ts'

/**
 * Ends an intent: what there is to tell is durable first, then the intent goes. What state does not take now is owed.
 * @param event what has become of it; absent: nothing that the audit trail is told
 * @returns whether the event is durable. That the intent has gone is not waited for: it tells of nothing more.
 */
export async function owesIntent(
  needs: Pick<ProcessorNeeds, 'audit' | 'records' | 'retries'>,
  decisionId: string,
  event?: AuditEvent,
): Promise<boolean> {
  const { audit, records, retries } = needs
  let told = event === undefined
  const tell = async (): Promise<void> => {
    if (event && !told) await audit.commit(event)
    told = true
  }
  const forget = async (): Promise<void> => void (await records.remove('capture', decisionId))
  const owe = (): void =>
    retries.add('intent', decisionId, async () => {
      await tell()
      await forget()
    })
  try {
    await tell()
  } catch {
    owe()
    return false
  }
  forget().catch(owe)
  return true
}

/** A resource whose owner could not be written. */
export interface Orphan {
  readonly id: string
  readonly resource: string
  readonly decisionId: string
  /** What its labels would have been. */
  readonly fresh: Labels
  readonly rules: ClaimRules
  readonly told: CaptureTold
}

/**
 * Has the mark of an orphan written as soon as state takes it. Where the labels turn out to be those that were to be written,
 * they had reached state after all, or its maker has come again: they stay. Another's stay too.
 */
export function owesOrphan(needs: ProcessorNeeds, orphan: Orphan): void {
  const { id, resource, decisionId, fresh, rules, told } = orphan
  const { labels, audit, records, retries } = needs
  const events = {
    orphan: told.orphan(id, 'label_not_written', 'state did not take the owner'),
    captured: told.captured(id, true),
  }
  retries.add('orphan', `${resource}:${id} ${decisionId}`, async () => {
    const event = await settle()
    await audit.commit(event)
    await records.remove('capture', decisionId)
  })

  const settle = async (): Promise<AuditEvent> => {
    const seen = (await labels.read(resource, id))?.labels
    // Also where it is being removed already.
    if (seen?.get(rules.ownerLabel) === fresh.get(rules.ownerLabel)) return events.captured
    const claim = claimOf(seen, fresh, rules)
    if (claim.kind === 'taken') {
      const ours = seen !== undefined && isMarkedBy(seen, marks.orphan, decisionId)
      return ours || claim.by === 'orphan' ? events.orphan : told.takeover(id, claim.by, true)
    }
    const next = marked(seen, marks.orphan, decisionId, secondsNow(needs))
    if (!(await labels.swap(resource, id, seen, next))) throw new Unavailable('the labels of the resource have changed just now')
    return events.orphan
  }
}
