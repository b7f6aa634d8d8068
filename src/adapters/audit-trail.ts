import type { Observation, Observer } from '../check/observe.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import type { JsonObject } from '../core/json.ts'
import { metadataValue } from '../core/metadata.ts'
import type { AuditSink } from '../core/ports.ts'
import { createLogBound } from './log-bound.ts'

export interface AuditTrailOptions {
  readonly sink: Pick<AuditSink, 'append'>
  /** `audit.decisions`: for requests that reached no route; a route has its own. */
  readonly decisions: 'none' | 'denials' | 'all'
  readonly newId: () => string
  readonly realm: string
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Denials recorded one by one in a second; what is over it becomes one counted event (default 200). */
  readonly denialsPerSecond?: number
}

/** The observer that writes the audit trail. */
export interface AuditTrail {
  readonly observe: Observer
  /** Records the count that is still owed. */
  readonly close: () => void
}

const detailOf = ({ facts, answer, detail }: Observation): JsonObject => ({
  policy: facts.policy.revision,
  enforced: metadataValue(answer.metadata, 'enforced') ?? true,
  method: facts.request.method.slice(0, 32),
  ...(facts.workload ? { workload: facts.workload.id } : {}),
  ...(facts.resource === undefined ? {} : { resource: facts.resource }),
  ...(facts.principal ? { issuer: facts.principal.issuer } : {}),
  ...(facts.principal?.actor ? { actor: facts.principal.actor.subject } : {}),
  ...(detail === '' ? {} : { why: detail }),
})

/** Turns decisions into audit events: each denial, and each allow where the route says `audit: all`. */
export function createAuditTrail(options: AuditTrailOptions): AuditTrail {
  const { sink, newId } = options
  const clock = options.clock ?? Date.now
  const bound = createLogBound(options.denialsPerSecond ?? 200, (suppressed) => {
    const time = new Date(clock()).toISOString()
    sink.append({
      id: newId(),
      time,
      type: 'decision',
      outcome: 'deny',
      realm: options.realm,
      reason: 'aggregated',
      detail: { count: suppressed },
    })
  })
  const observe: Observer = (observation) => {
    const { facts, reason } = observation
    const wanted = facts.route?.audit ?? options.decisions
    const denied = reason !== 'ok'
    if (wanted === 'none' || (!denied && wanted !== 'all')) return
    if (denied && !bound.admits()) return
    const actor = facts.principal?.subject ?? facts.workload?.id
    const event: AuditEvent = {
      id: newId(),
      time: new Date(facts.now).toISOString(),
      type: 'decision',
      outcome: denied ? 'deny' : 'allow',
      realm: facts.policy.realm,
      reason,
      decisionId: facts.decisionId,
      ...(actor === undefined ? {} : { actor }),
      ...(facts.route ? { target: facts.route.id } : {}),
      detail: detailOf(observation),
    }
    sink.append(event)
  }
  return { observe, close: bound.close }
}
