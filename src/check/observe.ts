import type { Answer } from '../core/answer.ts'
import type { Decision } from '../core/decision.ts'
import type { Facts } from '../core/facts.ts'

/** What a finished check leaves behind: metrics, log and audit are written from it. */
export interface Observation {
  readonly facts: Facts
  readonly decision: Decision
  readonly answer: Answer
  /** `ok`, or the reason of the denial (also of one that is not enforced). */
  readonly reason: Answer['reason']
  readonly detail: string
  /** Microseconds from the arrival of the message to the decision. */
  readonly micros: number
}

/** Looks at what was decided; never changes it. */
export type Observer = (observation: Observation) => void

/**
 * Shows each observation to all observers. One that throws is told to `onFault` and stops neither the answer
 * nor the other observers.
 */
export function observeAll(observers: readonly Observer[], onFault: (cause: unknown) => void): Observer {
  return (observation) => {
    for (const observer of observers) {
      try {
        observer(observation)
      } catch (cause) {
        onFault(cause)
      }
    }
  }
}
