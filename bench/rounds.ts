import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { RowResult, Sample } from './results.ts'
import type { Bench, Row, Started, Times } from './row.ts'
import { rotated } from './statistics.ts'
import { number } from './table.ts'
import { takeTurn } from './turn.ts'

export interface Plan extends Times {
  readonly rounds: number
  /** Seconds of load before the first turn of a row: compilers of servers have settled by then. */
  readonly first: number
}

/** Progress, a line at a time. */
export type Say = (text: string) => void

interface Alive {
  readonly row: Row
  readonly started: Started
  readonly samples: (Sample | null)[]
  problem?: string
}

const nothing = { onBegin: () => {}, onEnd: () => {} }

/**
 * Measures rows side by side: all are started and warmed up, then take turns, each once a round, each round in another order.
 * While one is asked the others are idle. A row that cannot be started, or fails, says why; the others go on.
 * @param folder an existing one, in which each row gets its own
 */
export async function runRows(rows: readonly Row[], bench: Bench, plan: Plan, folder: string, say: Say): Promise<RowResult[]> {
  const alive: Alive[] = []
  const results = new Map<string, RowResult>()
  try {
    for (const row of rows) {
      try {
        const started = await startRow(row, bench, plan, folder, say)
        alive.push({ row, started, samples: [] })
      } catch (error) {
        const problem = sentence(error)
        say(`${row.id}: not measured: ${problem}`)
        results.set(row.id, { ...described(row), samples: [], problem })
      }
    }
    for (let round = 0; round < plan.rounds; round++) {
      for (const one of rotated(alive, round)) await turn(one, plan, `round ${round + 1}/${plan.rounds}`, say)
    }
  } finally {
    for (const { started } of alive) await started.stop()
  }
  for (const { row, samples, problem } of alive)
    results.set(row.id, { ...described(row), samples, ...(problem === undefined ? {} : { problem }) })
  return rows.map(({ id }) => results.get(id)!)
}

async function startRow(row: Row, bench: Bench, plan: Plan, folder: string, say: Say): Promise<Started> {
  say(`${row.id}: starting`)
  await row.peer?.prepare()
  const own = join(folder, row.id)
  mkdirSync(own)
  const started = await row.start(bench, own)
  try {
    await started.settle?.()
    const { failed, wrong, requests } = await started.run({ warmup: 0, seconds: plan.first }, nothing)
    // A server that has just started may miss deadlines for a moment; one that mostly fails is not what the row is about.
    if (failed + wrong > requests / 10 || requests === 0)
      throw new Error(`${requests} answers, ${failed} failed, ${wrong} wrong in the first seconds`)
    return started
  } catch (error) {
    await started.stop()
    throw error
  }
}

async function turn(one: Alive, plan: Plan, where: string, say: Say): Promise<void> {
  try {
    const sample = await takeTurn(one.started, plan)
    one.samples.push(sample)
    say(`${where} ${one.row.id}: ${number(sample.cpu_us)} µs CPU, ${Math.round(sample.rate)}/s, p99 ${number(sample.p99_us / 1000)} ms`)
  } catch (error) {
    one.samples.push(null)
    const gone = one.started.pids().some((pid) => !existsSync(`/proc/${pid}`))
    one.problem = `${sentence(error)}${gone ? '; one of its servers has ended' : ''}`
    say(`${where} ${one.row.id}: ${one.problem}`)
  }
}

const described = ({ id, group, title, version, ours }: Row) => ({ id, group, title, ours, ...(version === undefined ? {} : { version }) })

const sentence = (error: unknown): string => (error instanceof Error ? error.message : String(error))
