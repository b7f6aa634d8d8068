import { buildBase } from './base.ts'
import { createTokenMaker } from './callers.ts'
import { writeMessages } from './message-files.ts'
import type { Build } from './postern.ts'
import { startPostern } from './postern.ts'
import { type RowResult, ratioOf, spreadOf } from './results.ts'
import { type Plan, runRows, type Say } from './rounds.ts'
import type { Bench, Row } from './row.ts'
import { captured, denied, posternStarted } from './rows/direct.ts'
import { markdownTable, ranged, ratio } from './table.ts'

/** The greatest ratio of CPU a check, this checkout's to the base's, that passes. */
export const guardLimit = 1.15

export interface GuardOptions {
  readonly build: Build
  readonly checkout: string
  readonly folder: string
  readonly plan: Plan
  /** What to compare with; absent: the last release. */
  readonly base: string | undefined
  readonly say: Say
}

/** What is compared. Its policy uses only settings that every release has, so that it means the same to both. */
const ways = [
  { id: 'tcp', title: 'allow, TCP', address: 'tcp', traffic: captured },
  { id: 'unix', title: 'allow, unix socket', address: 'unix', traffic: captured },
  { id: 'denial', title: 'denial, TCP', address: 'tcp', traffic: denied },
] as const

/**
 * Measures this checkout and an earlier commit side by side.
 * @returns the exit code: 1 where the median of the rounds' ratios is above {@link guardLimit}, or a row could not be measured
 */
export async function guard({ build, checkout, folder, plan, base, say }: GuardOptions): Promise<number> {
  const earlier = await buildBase(checkout, base, say)
  const bench: Bench = { build, messages: writeMessages(folder), tokens: createTokenMaker() }
  const rows = ways.flatMap((way) => [guardRow('base', earlier, way), guardRow('this', build, way)])
  const results = new Map((await runRows(rows, bench, plan, folder, say)).map((result) => [result.id, result]))
  const compared = ways.map(({ id, title }) => ({ title, ...compare(results.get(`base-${id}`)!, results.get(`this-${id}`)!) }))
  const body = compared.map(({ title, before, now, change, passed }) => [
    title,
    ranged(before),
    ranged(now),
    ratio(change),
    change === undefined ? 'not measured' : passed ? 'passed' : 'FAILED',
  ])
  process.stdout.write(`\nµs CPU a check: ${earlier.version}, and this checkout (${plan.rounds} rounds of ${plan.seconds} s)\n\n`)
  process.stdout.write(`${markdownTable(['check', earlier.version, 'this checkout', `ratio, at most ${guardLimit}`, ''], body)}\n`)
  for (const { title, problem } of results.values()) if (problem !== undefined) process.stdout.write(`${title}: ${problem}\n`)
  return compared.every(({ passed }) => passed) ? 0 : 1
}

function compare(base: RowResult, current: RowResult) {
  const change = ratioOf(current, base, 'cpu_us')
  return {
    before: spreadOf(base, 'cpu_us'),
    now: spreadOf(current, 'cpu_us'),
    change,
    passed: change !== undefined && change.median <= guardLimit,
  }
}

function guardRow(side: 'base' | 'this', build: Build, { id, title, address, traffic }: (typeof ways)[number]): Row {
  return {
    id: `${side}-${id}`,
    group: 'servers',
    title: `${title}, ${side}`,
    ours: side === 'this',
    start: async ({ messages }, folder) => posternStarted(await startPostern({ build, address, folder }), messages, traffic, 0),
  }
}
