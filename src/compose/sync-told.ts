import type { SyncMetrics } from '../adapters/kubernetes-sync-metrics.ts'
import type { Logger } from '../adapters/log.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import type { JsonObject } from '../core/json.ts'
import { type Labels, ownerOf } from '../core/ownership.ts'
import type { AuditSink } from '../core/ports.ts'
import type { MirrorChange, MirrorNeeds } from './sync-mirror.ts'
import { accessOf, type RecordRules } from './sync-record.ts'

/** Changes of a list that are told one by one; what comes after is counted. */
const mostOfList = 100
/** Lines of a list that tell of objects that have no record. */
const mostLines = 20

export interface ToldNeeds {
  readonly kind: string
  readonly rules: RecordRules
  readonly realm: string
  readonly audit: Pick<AuditSink, 'commit'>
  readonly log: Pick<Logger, 'info' | 'warn' | 'debug'>
  readonly metrics: Pick<SyncMetrics, 'change' | 'fault'>
  readonly newId: () => string
}

/** What a list made of the records. */
export type Tally = Readonly<Record<Outcome, number>>
type Outcome = MirrorChange['kind'] | 'left_out'

/** Audit trail, log and metrics of one kind. */
export interface Told extends Pick<MirrorNeeds, 'onChange' | 'onLeftOut'> {
  /** Writes so far: what changed the labels of a resource. */
  readonly writes: () => number
  /** From here on changes are those of a list. */
  readonly listBegins: () => void
  /** The list is taken in: one event for all. @param detail what else is known of it */
  readonly listEnds: (detail: JsonObject) => Promise<Tally>
}

const noTally = (): Record<Outcome, number> => ({
  created: 0,
  changed: 0,
  adopted: 0,
  removed: 0,
  unchanged: 0,
  skipped: 0,
  conflict: 0,
  left_out: 0,
})

/** What the audit trail says of the actor. */
export const actorOf = ({ cluster }: Pick<RecordRules, 'cluster'>): string => `kubernetes:${cluster}`

export function createTold({ kind, rules, realm, audit, log, metrics, newId }: ToldNeeds): Told {
  let tally: Record<Outcome, number> | undefined
  let events = 0
  let lines = 0
  let writes = 0

  const commit = async (
    event: Pick<AuditEvent, 'type' | 'outcome' | 'target' | 'detail'> & { readonly reason?: string },
  ): Promise<void> => {
    try {
      await audit.commit({ id: newId(), time: new Date().toISOString(), realm, actor: actorOf(rules), ...event })
    } catch {
      // It stays queued, and state says itself that it does not answer.
      metrics.fault('audit')
    }
  }
  const count = (outcome: Outcome): void => {
    if (tally) tally[outcome]++
    metrics.change(kind, outcome)
  }
  /** Whether one more event is told: a list may bring a hundred thousand. */
  const told = (): boolean => tally === undefined || ++events <= mostOfList
  const line = (): boolean => tally === undefined || ++lines <= mostLines
  const owner = (record: Labels | undefined): string | null => (record && ownerOf(rules.ownerLabel, record)) ?? null

  const changed = async (change: Extract<MirrorChange, { before: unknown }>): Promise<void> => {
    const { before, after, id, uid } = change
    writes++
    if (accessOf(rules, before) === accessOf(rules, after)) return
    // A list creates what it brings: that is counted from the first on.
    if (tally && change.kind === 'created') return
    if (!told()) return
    await commit({
      type: 'owner_changed',
      outcome: 'success',
      target: `${kind}:${id}`,
      detail: { before: owner(before), after: owner(after), how: change.kind, uid },
    })
  }

  return {
    writes: () => writes,
    onChange: async (change) => {
      count(change.kind)
      switch (change.kind) {
        case 'unchanged':
          return
        case 'skipped': {
          const { namespace, name } = change.object
          if (line()) log.warn({ resource: kind, namespace, name, reason: change.reason }, 'an object is not mirrored')
          return
        }
        case 'conflict': {
          const { id, reason, object, seen, wanted } = change
          const { namespace, name, uid } = object
          if (line()) log.warn({ resource: kind, id, namespace, name, reason }, 'a record is not taken over')
          if (!told()) return
          return commit({
            type: 'owner_conflict',
            outcome: 'failure',
            reason,
            target: `${kind}:${id}`,
            detail: { owner: owner(seen), claimed: owner(wanted), uid },
          })
        }
        default:
          return changed(change)
      }
    },
    onLeftOut: ({ namespace, name }, left) => {
      count('left_out')
      if (line()) log.warn({ resource: kind, namespace, name, left }, 'not everything that an object says can be taken over')
    },
    listBegins: () => {
      tally = noTally()
      events = lines = 0
    },
    listEnds: async (detail) => {
      const counts = tally ?? noTally()
      tally = undefined
      const said = Object.fromEntries(Object.entries(counts).filter(([, number]) => number > 0))
      log.info({ resource: kind, ...detail, ...said }, 'list taken in')
      const { created, changed, adopted, removed, conflict } = counts
      if (created + changed + adopted + removed + conflict > 0)
        await commit({
          type: 'owners_imported',
          outcome: 'success',
          target: kind,
          detail: { ...detail, ...said, told: Math.min(events, mostOfList) },
        })
      return counts
    },
  }
}
