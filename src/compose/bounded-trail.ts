import { createLogSample } from '../adapters/log-sample.ts'
import type { AuditEvent, AuditEventType } from '../core/audit-event.ts'
import type { AuditSink } from '../core/ports.ts'

export interface BoundedTrailNeeds {
  readonly audit: Pick<AuditSink, 'commit'>
  readonly newId: () => string
  readonly realm: string
  readonly onFault: (cause: unknown) => void
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
}

/** The trail for those whom anybody can make write to it. */
export interface BoundedTrail extends Pick<AuditSink, 'commit'> {
  /** Tells what was counted and not told yet. */
  readonly close: () => Promise<void>
}

/** What fails because of what somebody sent: no more than so many at once of one type and reason, then so many in a second. */
const bounded: ReadonlySet<AuditEventType> = new Set([
  'admin_login',
  'agent_registered',
  'app_login',
  'launch_token_created',
  'token_refused',
])
const burst = 20
const perSecond = 2
/** Types and reasons that are told apart: more than there are. */
const mostKinds = 100

/**
 * Commits events to the trail. Floods of failures become counts: the first ones of a type and reason are written, and the next
 * that is says in `detail.suppressed` how many were not; where no next one comes, an event of its own does, with the reason
 * `counted`. What succeeded is always written.
 */
export function boundTrail({ audit, newId, realm, onFault, clock = Date.now }: BoundedTrailNeeds): BoundedTrail {
  const telling = new Set<Promise<void>>()
  const tell = (event: Omit<AuditEvent, 'id' | 'time' | 'realm'>): void => {
    const told = audit
      .commit({ id: newId(), time: new Date(clock()).toISOString(), realm, ...event })
      .catch(onFault)
      .finally(() => telling.delete(told))
    telling.add(told)
  }
  const samples = new Map(
    [...bounded].map((type) => [
      type,
      createLogSample({
        burst,
        perSecond,
        kinds: mostKinds,
        tell: (reason, suppressed) => {
          const detail = { suppressed, ...(reason !== undefined && { reason }) }
          tell({ type, outcome: 'failure', reason: 'counted', detail })
        },
      }),
    ]),
  )
  return {
    commit: async (event) => {
      const sample = event.outcome === 'failure' ? samples.get(event.type) : undefined
      if (!sample) return audit.commit(event)
      const suppressed = sample.admits(event.reason ?? '')
      if (suppressed === undefined) return
      await audit.commit(suppressed === 0 ? event : { ...event, detail: { ...event.detail, suppressed } })
    },
    close: async () => {
      for (const sample of samples.values()) sample.close()
      await Promise.all(telling)
    },
  }
}
