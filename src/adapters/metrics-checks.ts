import type { Registry } from 'prom-client'
import type { Observation, Observer } from '../check/observe.ts'
import type { StageClock } from '../check/stage.ts'
import { stageNames } from '../core/facts.ts'
import { denyReasons } from '../core/reasons.ts'
import { Durations, register, type Value } from './metrics-series.ts'

/** Seconds: a check answered from memory takes microseconds, one that waits for a token service up to 2 s. */
const bounds = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2]

const reasons = ['ok', ...denyReasons] as const
const slotOf = new Map<string, number>(reasons.map((reason, i) => [reason, i * 2]))

/** One check in so many has its stages timed, and stands for as many; waits are told of all. */
const timedEvery = 16

/** Metrics of the check path. Counting costs an array index, no labels and no allocation. */
export interface CheckMetrics {
  readonly clock: StageClock
  readonly observe: Observer
  /** The routes of the policy now in force: counters of routes that are gone are dropped. */
  readonly keepRoutes: (ids: readonly string[]) => void
}

/** Registers the metrics of the check path. */
export function createCheckMetrics(registry: Registry): CheckMetrics {
  const stages = new Map(stageNames.map((stage) => [stage, new Durations(bounds)]))
  const whole = new Durations(bounds)
  let turn = 0
  // route → [reason × (enforced, not enforced)]; the empty name stands for "no route was reached".
  const checks = new Map<string, Float64Array>()
  const none = new Float64Array(reasons.length * 2)
  checks.set('', none)

  const countersOf = (route: string): Float64Array => {
    const made = new Float64Array(reasons.length * 2)
    checks.set(route, made)
    return made
  }

  register(registry, 'counter', 'postern_checks_total', 'Decisions by route and reason; decision is allow, deny or unenforced', () => {
    const out: Value[] = []
    for (const [route, counts] of checks) {
      for (const [i, reason] of reasons.entries()) {
        const [enforced, not] = [counts[i * 2]!, counts[i * 2 + 1]!]
        if (enforced > 0) out.push({ value: enforced, labels: { route, reason, decision: reason === 'ok' ? 'allow' : 'deny' } })
        if (not > 0) out.push({ value: not, labels: { route, reason, decision: 'unenforced' } })
      }
    }
    return out
  })
  const stageName = 'postern_stage_duration_seconds'
  register(
    registry,
    'histogram',
    stageName,
    'Time in each stage of a check, waiting included; one check in sixteen is timed and counts for sixteen, waits are all told',
    () => [...stages].flatMap(([stage, durations]) => durations.values(stageName, { stage })),
  )
  const checkName = 'postern_check_duration_seconds'
  register(registry, 'histogram', checkName, 'Time from the arrival of the message to the decision', () => whole.values(checkName, {}))

  return {
    clock: {
      due: () => {
        turn = (turn + 1) % timedEvery
        return turn === 0
      },
      ran: (stage, ms) => stages.get(stage)!.observe(ms / 1000, timedEvery),
      waited: (stage, ms) => stages.get(stage)!.observe(ms / 1000),
    },
    observe: ({ facts, decision, reason, micros }: Observation) => {
      const id = facts.route?.id
      const counts = id === undefined ? none : (checks.get(id) ?? countersOf(id))
      const unenforced = 'access' in decision && typeof decision.access === 'object'
      counts[slotOf.get(reason)! + (unenforced ? 1 : 0)]!++
      whole.observe(micros / 1e6)
    },
    keepRoutes: (ids) => {
      const known = new Set(ids)
      for (const id of checks.keys()) if (id !== '' && !known.has(id)) checks.delete(id)
    },
  }
}
