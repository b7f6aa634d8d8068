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

/** How long stages take. Reading the time costs more than most stages do, so not every check is timed. */
export interface StageClock {
  /** Asked once a check: whether its stages are to be timed. */
  readonly due: () => boolean
  /** A stage that did not wait, of a check that was to be timed: milliseconds that it ran. */
  readonly ran: (stage: StageName, ms: number) => void
  /** A stage that waited, of any check: milliseconds of the wait. */
  readonly waited: (stage: StageName, ms: number) => void
}

/** Runs one stage, and notes what is awaited. */
export function watched<In extends Received, Out>({ name, run }: Stage<In, Out>, waited: StageClock['waited']): Run<In, Out> {
  return (state) => {
    let outcome: ReturnType<typeof run>
    try {
      outcome = run(state)
    } catch (cause) {
      // What cannot be had at once is blamed on its stage as well.
      factsOf(state).waitingFor = name
      throw cause
    }
    if (!(outcome instanceof Promise)) return outcome
    const facts = factsOf(state)
    const begun = performance.now()
    facts.waitingFor = name
    return outcome.then((out) => {
      facts.monotonic = performance.now()
      waited(name, facts.monotonic - begun)
      if (!facts.answered) facts.waitingFor = undefined
      return out
    })
  }
}

/** Times a stage that is run by {@link watched}. */
export function timed<In extends Received, Out>(name: StageName, run: Run<In, Out>, ran: StageClock['ran']): Run<In, Out> {
  return (state) => {
    const begun = performance.now()
    const outcome = run(state)
    // Its wait is told by `watched`.
    if (!(outcome instanceof Promise)) ran(name, performance.now() - begun)
    return outcome
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
