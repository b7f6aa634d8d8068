import fc from 'fast-check'

/** What must hold of every input. */
export interface Property<T = unknown> {
  /** `<parser>: <what holds>`. */
  readonly name: string
  /** Its part of a long run: two of 10 get as many inputs as one of 20. */
  readonly weight: number
  /** Inputs in `npm test`. */
  readonly few: number
  /** Makes what the inputs are tried on. The seed matters where that is random too. */
  readonly open: (seed: number) => Opened<T> | Promise<Opened<T>>
}

export interface Opened<T> {
  readonly inputs: fc.Arbitrary<T>
  /** Throws where the property does not hold. */
  readonly check: (input: T) => void
  /** Instead of `check`, where something has to be waited for. */
  readonly checkLater?: (input: T) => Promise<void>
  readonly close?: () => unknown
}

/** A property of nothing but its inputs. */
export const property = <T>(
  name: string,
  inputs: fc.Arbitrary<T>,
  check: (input: T) => void,
  { weight = 10, few = 1000 }: { readonly weight?: number; readonly few?: number } = {},
): Property => ({ name, weight, few, open: () => ({ inputs, check }) }) as Property

export interface RunOptions {
  readonly seed: number
  readonly inputs: number
  /** Milliseconds after which no further input is tried. */
  readonly limitMs: number
  /** Told of each input before it is tried: one that never comes back can be found again by its number. */
  readonly onInput?: () => void
}

export interface Outcome {
  readonly inputs: number
  readonly ms: number
  readonly failure?: Failure
}

export interface Failure {
  readonly counterexample: string
  /** For fast-check, together with the seed: where in its tree of inputs the counterexample is. */
  readonly path: string
  readonly message: string
}

/** Tries a property on so many inputs, and makes a counterexample as small as can be. */
export async function tryProperty(one: Property, options: RunOptions): Promise<Outcome> {
  const { seed, inputs: numRuns, limitMs, onInput } = options
  const begun = performance.now()
  const { inputs, check, checkLater, close } = await one.open(seed)
  let tried = 0
  const count = () => {
    tried++
    onInput?.()
  }
  const parameters = { seed, numRuns, interruptAfterTimeLimit: limitMs, markInterruptAsFailure: false }
  try {
    const details = checkLater
      ? await fc.check(
          fc.asyncProperty(inputs, (input) => {
            count()
            return checkLater(input)
          }),
          parameters,
        )
      : fc.check(
          fc.property(inputs, (input) => {
            count()
            check(input)
          }),
          parameters,
        )
    const outcome = { inputs: tried, ms: performance.now() - begun }
    if (!details.failed) return outcome
    const failure = {
      counterexample: fc.stringify(details.counterexample?.[0]),
      path: details.counterexamplePath ?? '',
      message: messageOf(details.errorInstance),
    }
    return { ...outcome, failure }
  } finally {
    await close?.()
  }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? (cause.stack ?? cause.message) : String(cause))

/** What a failed test says: all that is needed to see it again. */
export const told = ({ counterexample, path, message }: Failure, seed: number): string =>
  `seed ${seed}, path "${path}"\ncounterexample: ${counterexample}\n${message}`
