import type { Caller } from '../core/access.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import type { Checked } from '../core/capture-checked.ts'
import type { Policy } from '../core/policy.ts'
import type { Capture } from '../core/route.ts'
import type { Asked } from './processor-answers.ts'
import { eventOf, type ProcessorNeeds } from './processor-needs.ts'

/** A create, as its capture needs it. */
export interface Making {
  readonly checked: Checked
  /** Who will be its owner. */
  readonly caller: Caller
  readonly capture: Capture
  readonly policy: Policy
  readonly asked: Asked
}

/** Why a resource that was made, or may have been, has no owner. */
export type OrphanReason =
  | 'label_not_written'
  | 'id_missing'
  | 'id_unclear'
  | 'id_illegal'
  | 'body_encoded'
  | 'body_too_large'
  | 'body_unreadable'
  | 'response_lost'
  | 'intent_expired'

/** What the audit trail is told of one create. */
export interface CaptureTold {
  readonly captured: (id: string, late?: boolean) => AuditEvent
  /** @param by what stood in the way: an owner, the mark of an orphan or of a removal, another tenant */
  readonly takeover: (id: string, by: string, late?: boolean) => AuditEvent
  /** @param id undefined where nobody knows it */
  readonly orphan: (id: string | undefined, reason: OrphanReason, why: string) => AuditEvent
}

/** Events of one create: each has one id, however often it is committed. */
export function captureTold(needs: Pick<ProcessorNeeds, 'newId' | 'clock'>, { checked, caller, capture, policy }: Making): CaptureTold {
  const { subject, tenant: of } = caller.facts
  const about = { actor: subject, decisionId: checked.decisionId }
  const target = (id: string | undefined): string => (id === undefined ? capture.resource : `${capture.resource}:${id}`)
  const tenant = of === undefined ? {} : { tenant: of }
  const common = { route: checked.route, ...tenant }
  // A label that was written after its client had been told that it could not be.
  const note = (late: boolean) => (late ? { late } : {})
  const event = (told: Parameters<typeof eventOf>[2]): AuditEvent => eventOf(needs, policy.realm, { ...about, ...told })
  return {
    captured: (id, late = false) =>
      event({ type: 'owner_captured', outcome: 'success', target: target(id), detail: { ...common, ...note(late) } }),
    takeover: (id, by, late = false) =>
      event({ type: 'takeover', outcome: 'deny', reason: 'takeover', target: target(id), detail: { ...common, by, ...note(late) } }),
    orphan: (id, reason, why) =>
      event({
        type: 'orphan',
        outcome: 'failure',
        reason,
        target: target(id),
        // With no id, the upstream may have made something or not.
        detail: { ...common, why, id_known: id !== undefined },
      }),
  }
}
