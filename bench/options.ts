import { parseArgs } from 'node:util'
import type { Plan } from './rounds.ts'

export const usage = `npm run bench [-- OPTIONS]

  (no option)        every row, in about 40 minutes, and the verdict on each promise
  --quick            Postern and the hand-written Go server only, directly and through Envoy, in under two minutes
  --guard            this checkout against the last release, in one run; exit code 1 above a ratio of 1.15
  --base REF         with --guard: another commit to compare with
  --rows A,B         only these rows or groups, with what they are compared with
  --rounds N         turns of each row
  --seconds N        measured time of a turn
  --write-docs       write docs/performance/results.json and its charts; groups not measured now stay as they were
  --out FILE         write the results as JSON
  --show FILE        print the tables of an earlier run, and measure nothing
  --list             name all rows, and end
  --direct           the first request to a new sandbox, with and without a router; --direct --help tells more
  --upstreams        the first request to a new sandbox, with mTLS and by the token alone; --upstreams --help tells more

Exit code 0, 1 where a promise was broken or a guarded ratio is too high, 2 for wrong arguments.`

export interface Options {
  readonly mode: 'full' | 'quick' | 'guard' | 'show' | 'list' | 'help'
  readonly base: string | undefined
  readonly rows: readonly string[] | undefined
  readonly plan: Plan
  readonly writeDocs: boolean
  readonly out: string | undefined
  /** With `show`: a file of results. */
  readonly show: string | undefined
}

/** Turns and their seconds, by mode. */
const plans = {
  full: { rounds: 5, seconds: 4, warmup: 4, first: 5 },
  quick: { rounds: 5, seconds: 2, warmup: 0.7, first: 3 },
  guard: { rounds: 9, seconds: 3, warmup: 0.7, first: 6 },
} as const satisfies Record<string, Plan>

/** Wrong arguments. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** @throws {UsageError} with one sentence */
export function readOptions(args: readonly string[]): Options {
  const values = parsed(args)
  const { quick = false, guard = false, list = false, help = false } = values
  if (quick && guard) throw new UsageError('--quick and --guard exclude each other')
  const mode = help ? 'help' : list ? 'list' : values.show !== undefined ? 'show' : guard ? 'guard' : quick ? 'quick' : 'full'
  if (values.base !== undefined && mode !== 'guard') throw new UsageError('--base belongs to --guard')
  if (values.rows !== undefined && mode !== 'full') throw new UsageError('--rows chooses among all rows: leave --quick and --guard out')
  const plan: Plan = plans[mode === 'quick' || mode === 'guard' ? mode : 'full']
  const rounds = count('--rounds', values.rounds, 1) ?? plan.rounds
  if (mode === 'guard' && rounds < 7) throw new UsageError('--guard needs 7 rounds or more: fewer mistake noise for a change')
  return {
    mode,
    base: values.base,
    rows: values.rows?.split(',').filter((word) => word !== ''),
    plan: { ...plan, rounds, seconds: count('--seconds', values.seconds, 0.5) ?? plan.seconds },
    writeDocs: values['write-docs'] ?? false,
    out: values.out,
    show: values.show,
  }
}

function parsed(args: readonly string[]) {
  const flag = { type: 'boolean' } as const
  const text = { type: 'string' } as const
  const options = {
    quick: flag,
    guard: flag,
    list: flag,
    'write-docs': flag,
    base: text,
    rows: text,
    rounds: text,
    seconds: text,
    out: text,
    show: text,
  }
  try {
    return parseArgs({ args: [...args], options: { ...options, help: { ...flag, short: 'h' } } }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

function count(name: string, value: string | undefined, least: number): number | undefined {
  if (value === undefined) return undefined
  const read = Number(value)
  if (!(read >= least) || read > 600 || (name === '--rounds' && !Number.isInteger(read)))
    throw new UsageError(`${name} ${value}: expected a number from ${least} to 600`)
  return read
}
