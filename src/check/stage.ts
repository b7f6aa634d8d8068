import { factsOf, type Received, type StageName } from '../core/facts.ts'
import type { Soon } from '../core/ports.ts'
import { Deny, deny } from '../core/reasons.ts'

/**
 * One step of a check: adds facts to the state, or ends with a denial. Answers synchronously when memory can.
 * `run` is a property, not a method: method parameters are compared loosely, and a skipped stage would compile.
 */
export interface Stage<In extends Received, Out> {
  readonly name: StageName
  readonly run: (state: In) => Soon<Out | Deny>
}

/** A stage, or several one after the other. */
export type Run<In extends Received, Out> = (state: In) => Soon<Out | Deny>

/** Takes how long a stage ran, in milliseconds; for a stage that waited, with the wait. */
export type StageClock = (stage: StageName, ms: number) => void

/** Runs one stage, notes what is awaited, and times it. */
export function timed<In extends Received, Out>(stage: Stage<In, Out>, clock: StageClock): Run<In, Out> {
  const { name, run } = stage
  return (state) => {
    const begun = performance.now()
    const facts = factsOf(state)
    let outcome: ReturnType<typeof run>
    try {
      outcome = run(state)
    } catch (cause) {
      // What cannot be had at once is blamed on its stage as well.
      facts.waitingFor = name
      throw cause
    }
    if (!(outcome instanceof Promise)) {
      clock(name, performance.now() - begun)
      return outcome
    }
    facts.waitingFor = name
    return outcome.then((out) => {
      clock(name, performance.now() - begun)
      if (!facts.answered) facts.waitingFor = undefined
      return out
    })
  }
}

/** First one, then the other, unless the first denies or the answer has been given meanwhile. */
export function chain<A extends Received, B extends Received, C>(first: Run<A, B>, second: Run<B, C>): Run<A, C> {
  return (state) => {
    const step = first(state)
    if (!(step instanceof Promise)) return step instanceof Deny ? step : second(step)
    return step.then((out) => {
      if (out instanceof Deny) return out
      if (factsOf(state).answered) return deny('overloaded', 'answered before this stage ended')
      return second(out)
    })
  }
}

/** Runs `inner` unless the state is already what comes out of it. */
export function unless<A extends Received, B extends A, C>(is: (state: A) => state is B, inner: Run<A, C>): Run<A, B | C> {
  return (state) => (is(state) ? state : inner(state))
}
