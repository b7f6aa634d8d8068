import type { Case, CaseClass } from './case.ts'
import { createRunner, type Result, type RunnerOptions } from './run.ts'
import type { World } from './world.ts'

/** Cases under way at once: most of their time is Envoy's and the server's. */
const together = 8

/** Runs all cases of some classes, in no order. */
export async function runCorpus(world: World, classes: readonly CaseClass[], options: RunnerOptions): Promise<Result[]> {
  const runner = createRunner(world, options)
  const results = new Map<Case, Result>()
  const waiting = classes.flatMap(({ cases }) => cases)
  const work = async (): Promise<void> => {
    for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) results.set(one, await runner.run(one))
  }
  const all = [...waiting]
  await Promise.all(Array.from({ length: together }, work))
  runner.close()
  return all.map((one) => results.get(one)!)
}

/** Counts of a class. */
export interface Row {
  readonly name: string
  readonly cases: number
  readonly held: number
  /** Of those held: the server gave no answer, or none that could be used, and Envoy failed closed. */
  readonly byError: number
  readonly broken: number
  readonly notApplicable: number
  readonly pending: number
}

export function rowsOf(classes: readonly CaseClass[], results: readonly Result[]): Row[] {
  const count = (name: string | undefined, verdict: Result['verdict']): number =>
    results.filter((result) => (name === undefined || result.case.class === name) && result.verdict === verdict).length
  const errors = (name: string | undefined): number =>
    results.filter(
      ({ case: one, verdict, outcome }) => (name === undefined || one.class === name) && verdict === 'held' && outcome?.kind === 'error',
    ).length
  const row = (label: string, name: string | undefined, cases: number): Row => ({
    name: label,
    cases,
    held: count(name, 'held'),
    byError: errors(name),
    broken: count(name, 'broken'),
    notApplicable: count(name, 'not applicable'),
    pending: count(name, 'pending'),
  })
  const rows = classes.map(({ name, cases }) => row(name, name, cases.length))
  return [...rows, row('all', undefined, results.length)]
}
