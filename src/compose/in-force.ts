import { createAuditTrail } from '../adapters/audit-trail.ts'
import type { Logger } from '../adapters/log.ts'
import { createDecisionLog } from '../adapters/log-decisions.ts'
import type { Metrics } from '../adapters/metrics.ts'
import { type Observer, observeAll } from '../check/observe.ts'
import type { Loaded } from '../config/read.ts'
import type { JsonObject } from '../core/json.ts'
import type { State } from '../core/ports.ts'
import type { Rulings } from './rulings.ts'
import type { WorkerLink } from './workers-link.ts'

export interface InForceNeeds {
  readonly state: State
  readonly log: Logger
  readonly metrics: Metrics
  readonly newId: () => string
  readonly onFault: (where: string) => (cause: unknown) => void
  /** Told of each policy that is taken into force after the first. */
  readonly onTaken?: ((loaded: Loaded) => void) | undefined
  /** In a worker: the primary, which is told the revision, and records for all what became of a change. */
  readonly link: WorkerLink | undefined
}

/** The policy in force, since when, and what became of the last change of its files. */
export interface InForce {
  readonly loaded: () => Loaded
  readonly since: () => Date
  readonly reloadFault: () => { readonly time: string; readonly sentences: readonly string[] } | undefined
  /** Metrics, decision log and audit, as the policy in force wants them. */
  readonly observe: Observer
  /** One after the other, and only whole: a policy is in force when everything that it needs is there. */
  readonly take: (next: Loaded, rulings: Rulings) => void
  /** The last good policy stays in force. */
  readonly refuse: (sentences: readonly string[]) => void
  readonly close: () => void
}

export function holdInForce(first: Loaded, needs: InForceNeeds): InForce {
  const { state, log, metrics, newId, onFault, link } = needs
  const { realm } = first.settings
  let loaded = first
  let since = new Date()
  let reloadFault: ReturnType<InForce['reloadFault']>
  let taking: Promise<void> = Promise.resolve()

  const observersOf = ({ settings }: Loaded): { readonly observe: Observer; readonly close: () => void } => {
    log.level = settings.log.level
    const decisions = createDecisionLog({ log, decisions: settings.log.decisions })
    const trail = createAuditTrail({ sink: state.audit, decisions: settings.audit.decisions, newId, realm })
    return {
      observe: observeAll([metrics.observe, decisions.observe, trail.observe], onFault('observer')),
      close: () => {
        decisions.close()
        trail.close()
      },
    }
  }
  let observers = observersOf(first)

  const tell = (): void => {
    const routes = loaded.policy.routes.routes.map(({ id }) => id)
    metrics.policyInForce(realm, loaded.revision, routes)
    link?.tell({ kind: 'policy', realm, revision: loaded.revision })
  }
  tell()

  const record = (outcome: 'success' | 'failure', detail: JsonObject): void => {
    if (link) return
    const time = new Date().toISOString()
    state.audit.append({ id: newId(), time, type: 'policy_reloaded', outcome, realm, target: loaded.revision, detail })
  }

  const refuse = (sentences: readonly string[]): void => {
    reloadFault = { time: new Date().toISOString(), sentences }
    metrics.reloaded('refused')
    record('failure', { faults: sentences.length })
    log.error({ faults: sentences, revision: loaded.revision }, 'the changed policy is refused; the last good one stays in force')
  }

  const take = async (next: Loaded, rulings: Rulings): Promise<void> => {
    await rulings.take(next)
    const before = observers
    loaded = next
    needs.onTaken?.(next)
    since = new Date()
    observers = observersOf(next)
    before.close()
    reloadFault = undefined
    tell()
    metrics.reloaded('success')
    record('success', {})
    log.info({ revision: next.revision }, 'policy in force')
  }

  return {
    loaded: () => loaded,
    since: () => since,
    reloadFault: () => reloadFault,
    observe: (seen) => observers.observe(seen),
    take: (next, rulings) => {
      taking = taking
        .then(() => take(next, rulings))
        .catch((cause: unknown) => refuse([cause instanceof Error ? cause.message : String(cause)]))
    },
    refuse,
    close: () => observers.close(),
  }
}
