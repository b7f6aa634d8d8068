import { judge, type Outcome, type Verdict } from './bounds.ts'
import { type Metric, type Results, type RowResult, ratioOf, spreadOf } from './results.ts'
import { groups } from './row.ts'
import { scaled } from './statistics.ts'
import { markdownTable, number, ranged, ratio } from './table.ts'

/** What stands in the tables: a metric, its heading, and what it is divided by. */
interface Column {
  readonly head: string
  readonly metric: Metric
  readonly by?: number
}

const cpu: Column = { head: 'µs CPU a check', metric: 'cpu_us' }
const rate: Column = { head: 'checks/s', metric: 'rate' }
const p50: Column = { head: 'p50 ms', metric: 'p50_us', by: 1000 }
const p99: Column = { head: 'p99 ms', metric: 'p99_us', by: 1000 }
const memory: Column = { head: 'MB resident, at rest', metric: 'rss_mb' }
const memoryBusy: Column = { head: 'at the end of the load', metric: 'rss_busy_mb' }

const columns: Readonly<Record<string, readonly Column[]>> = {
  memory: [memory, memoryBusy, cpu],
  envoy: [
    { ...cpu, head: 'µs CPU a request, total' },
    { head: 'of it the authorizer', metric: 'authorizer_us' },
    { ...rate, head: 'requests/s' },
    p50,
    p99,
  ],
}

/** A run in words: of what, where, the tables and the verdicts. @param referenceOf the reference row of a group */
export function report(results: Results, referenceOf: (group: string) => string | undefined): string {
  const { commit, changed, version } = results.postern
  const { rounds, seconds } = results.settings
  const perMillion = megabytesPerMillionLabels(results)
  const verdicts = judge(results)
  return [
    `Postern ${version}, ${commit}${changed ? ' with changes' : ''}; ${describe(results.versions)}; ${describe(results.machine)}`,
    `${rounds} rounds of ${seconds} s; medians, least and greatest in brackets`,
    tables(results, referenceOf),
    ...(perMillion === undefined ? [] : [`A million labels near take ${Math.round(perMillion)} MB.`]),
    ...(verdicts.length === 0 ? [] : [verdictTable(verdicts)]),
  ].join('\n\n')
}

const describe = (facts: Readonly<Record<string, string | number>>): string =>
  Object.entries(facts)
    .map(([name, value]) => `${name} ${value}`)
    .join(', ')

/** The tables of a run, one a group, with the ratio to the group's reference row. */
export function tables(results: Pick<Results, 'rows'>, referenceOf: (group: string) => string | undefined): string {
  return Object.entries(groups)
    .flatMap(([group, title]) => {
      const rows = results.rows.filter((row) => row.group === group)
      if (rows.length === 0) return []
      const reference = rows.find(({ id }) => id === referenceOf(group))
      return [`${title}\n\n${groupTable(rows, columns[group] ?? [cpu, rate, p50, p99], reference)}${problems(rows)}`]
    })
    .join('\n\n')
}

function groupTable(rows: readonly RowResult[], shown: readonly Column[], reference: RowResult | undefined): string {
  const head = ['server', ...shown.map((column) => column.head), ...(reference ? ['CPU: ratio to grpc-go'] : [])]
  const body = rows.map((row) => [
    row.version === undefined ? row.title : `${row.title} (${row.version})`,
    ...shown.map((column) => cell(row, column)),
    ...(reference ? [ratio(ratioOf(row, reference, 'cpu_us'))] : []),
  ])
  return markdownTable(head, body)
}

function cell(row: RowResult, { metric, by = 1 }: Column): string {
  const value = spreadOf(row, metric)
  return ranged(value && scaled(value, by))
}

function problems(rows: readonly RowResult[]): string {
  return rows.map(({ title, problem }) => (problem === undefined ? '' : `\n\n${title}: ${problem}`)).join('')
}

const words: Readonly<Record<Outcome, string>> = {
  kept: 'kept',
  unclear: 'unclear: over, perhaps by noise',
  broken: 'BROKEN',
  missing: 'not measured',
}

/** What was promised, what came out, and whether it was kept. */
export function verdictTable(verdicts: readonly Verdict[]): string {
  const body = verdicts.map(({ bound, outcome, measured }) => [
    bound.what,
    number(bound.limit),
    bound.reference === undefined ? ranged(measured) : ratio(measured),
    words[outcome],
  ])
  return markdownTable(['promise', 'at most', 'measured: median (min–max)', 'verdict'], body)
}

/** MB that a million near labels take, by the two rows that differ in nothing else. */
export function megabytesPerMillionLabels({ rows }: Pick<Results, 'rows'>): number | undefined {
  const [many, few] = ['near-1m', 'near-1k'].map((id) => rows.find((row) => row.id === id))
  const [large, small] = [many && spreadOf(many, 'rss_mb'), few && spreadOf(few, 'rss_mb')]
  return large && small ? (large.median - small.median) / 0.999 : undefined
}
