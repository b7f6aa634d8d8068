import type { Allow, Decision } from '../core/decision.ts'
import type { Facts, Received, StageName } from '../core/facts.ts'
import { type Soon, Unavailable } from '../core/ports.ts'
import { Deny, type DenyReason, deny } from '../core/reasons.ts'
import type { Run } from './stage.ts'

/** What a deadline that passes inside a stage is called; the rest is `overloaded`. */
const lateReason: Partial<Record<StageName, DenyReason>> = {
  identify: 'identity_unavailable',
  revocation: 'revocation_unavailable',
  own: 'owner_unavailable',
  exchange: 'exchange_unavailable',
}

const lateDenial = (facts: Facts): Deny =>
  deny(
    (facts.waitingFor && lateReason[facts.waitingFor]) || 'overloaded',
    `the deadline passed in ${facts.waitingFor ?? 'the check itself'}`,
  )

const failure = (cause: unknown): string =>
  cause instanceof Error
    ? `${cause.name}: ${cause.message}`
    : `threw ${typeof cause === 'object' ? Object.prototype.toString.call(cause) : String(cause)}`

/**
 * The only way out of the pipeline: a throw, a hang or a late answer is a denial. What is late goes on in the
 * background, bounded by whoever does it, and fills caches; it never reaches a further stage.
 * @param run the pipeline
 * @param facts the one check; at the end its `monotonic` is when the decision was made
 * @param deadline performance.now() milliseconds at which the answer must be given
 */
export function decide(run: Run<Received, Allow>, facts: Facts, deadline: number): Soon<Decision> {
  const settle = (outcome: Allow | Deny): Decision => {
    if (facts.answered) return deny('internal', 'answered twice')
    facts.answered = true
    facts.monotonic = performance.now()
    if (!(outcome instanceof Deny) && facts.monotonic > deadline) return lateDenial(facts)
    return outcome
  }
  const fail = (cause: unknown): Deny => {
    facts.answered = true
    facts.monotonic = performance.now()
    const reason = cause instanceof Unavailable && facts.waitingFor ? lateReason[facts.waitingFor] : undefined
    return deny(reason ?? 'internal', failure(cause))
  }
  try {
    const outcome = run(facts)
    if (!(outcome instanceof Promise)) return settle(outcome)
    return new Promise<Decision>((resolve) => {
      const timer = setTimeout(
        () => {
          if (facts.answered) return
          facts.answered = true
          facts.monotonic = performance.now()
          resolve(lateDenial(facts))
        },
        Math.max(0, deadline - performance.now()),
      )
      const give = (decision: Decision): void => {
        clearTimeout(timer)
        resolve(decision)
      }
      outcome.then(
        (out) => {
          if (!facts.answered) give(settle(out))
        },
        (cause) => {
          if (!facts.answered) give(fail(cause))
        },
      )
    })
  } catch (cause) {
    return fail(cause)
  }
}
