import type { AuditEvent } from '../core/audit-event.ts'
import type { Policy } from '../core/policy.ts'
import type { AuditSink, LabelStore, OwnerLookup } from '../core/ports.ts'
import type { RecordStore } from '../core/record-store.ts'
import type { Retries } from './processor-retries.ts'

export { owedKinds } from './processor-retries.ts'

/** What became of a create on a capture route. */
export const captureOutcomes = ['captured', 'retried', 'takeover', 'orphan', 'unavailable', 'not_made', 'lost'] as const
export type CaptureOutcome = (typeof captureOutcomes)[number]
/** What became of a request that takes a resource away. */
export const releaseOutcomes = ['released', 'refused', 'accepted', 'unsettled', 'unavailable'] as const
export type ReleaseOutcome = (typeof releaseOutcomes)[number]
/** What became of a list. */
export const filterOutcomes = ['filtered', 'unusable', 'unavailable'] as const
export type FilterOutcome = (typeof filterOutcomes)[number]

/** What is counted. */
export interface ProcessingCounts {
  readonly captured: (outcome: CaptureOutcome) => void
  readonly released: (outcome: ReleaseOutcome) => void
  readonly filtered: (outcome: FilterOutcome) => void
  /** Items of lists: those that were left in, and those that were taken out. */
  readonly items: (kept: number, dropped: number) => void
}

/** Lines of the log: pino's own functions fit. */
export interface ProcessingLog {
  readonly info: (fields: object, message: string) => void
  readonly warn: (fields: object, message: string) => void
  readonly error: (fields: object, message: string) => void
}

/** What capture, removal and filter reach. */
export interface ProcessorNeeds {
  /** The policy in force. */
  readonly policy: () => Policy
  readonly labels: Pick<LabelStore, 'read' | 'swap'>
  readonly records: RecordStore
  readonly audit: Pick<AuditSink, 'commit'>
  readonly owners: OwnerLookup
  readonly retries: Retries
  /** Captures that this process waits for the upstream of, by their decisions. */
  readonly following: Set<string>
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  readonly log: ProcessingLog
  readonly count: ProcessingCounts
}

/** An event of the audit trail, as it is told here. */
export type Told = Pick<AuditEvent, 'type' | 'outcome' | 'actor' | 'reason' | 'decisionId' | 'target' | 'detail'>

/** The whole event. It may be committed more than once: readers take the first of an id. */
export const eventOf = (needs: Pick<ProcessorNeeds, 'newId' | 'clock'>, realm: string, told: Told): AuditEvent => ({
  id: needs.newId(),
  time: new Date(needs.clock()).toISOString(),
  realm,
  ...told,
})

/** Whole seconds since the epoch. */
export const secondsNow = ({ clock }: Pick<ProcessorNeeds, 'clock'>): number => Math.floor(clock() / 1000)
