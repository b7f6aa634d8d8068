import { type Metric, type Results, type RowResult, ratioOf, spreadOf } from './results.ts'
import type { Spread } from './statistics.ts'

/** A promise about speed or memory that a run can keep or break. */
export interface Bound {
  readonly what: string
  readonly row: string
  readonly metric: Metric
  /** Absent: the value itself is bounded. */
  readonly reference?: string
  readonly limit: number
}

/**
 * What Postern promises, against the hand-written Go server of the same run where no other row is named (docs/performance.md).
 */
export const bounds: readonly Bound[] = [
  { what: 'CPU a check over TCP, against grpc-go', row: 'postern', metric: 'cpu_us', reference: 'grpc-go', limit: 0.5 },
  { what: 'CPU a check over TCP, against OPA-Envoy, log off', row: 'postern', metric: 'cpu_us', reference: 'opa', limit: 0.1 },
  {
    what: 'through Envoy, TCP: total CPU, against grpc-go',
    row: 'envoy-postern',
    metric: 'cpu_us',
    reference: 'envoy-grpc-go',
    limit: 0.75,
  },
  { what: 'through Envoy, TCP: p99, against grpc-go', row: 'envoy-postern', metric: 'p99_us', reference: 'envoy-grpc-go', limit: 1 },
  {
    what: 'through Envoy, unix: total CPU, against grpc-go',
    row: 'envoy-postern-unix',
    metric: 'cpu_us',
    reference: 'envoy-grpc-go-unix',
    limit: 0.75,
  },
  {
    what: 'through Envoy, unix: p99, against grpc-go',
    row: 'envoy-postern-unix',
    metric: 'p99_us',
    reference: 'envoy-grpc-go-unix',
    limit: 1,
  },
  { what: '10,000 routes, against 10', row: 'routes-10000', metric: 'cpu_us', reference: 'routes-10', limit: 1.1 },
  { what: '10 validators, against 1', row: 'validators-10', metric: 'cpu_us', reference: 'validators-1', limit: 1.3 },
  { what: 'a million near-cache entries, against a thousand', row: 'near-1m', metric: 'cpu_us', reference: 'near-1k', limit: 1.15 },
  { what: 'owner cold in Redis, against warm', row: 'redis-cold', metric: 'cpu_us', reference: 'redis-warm', limit: 2.5 },
  { what: 'MB resident at rest: 10,000 routes, 100,000 near-cache entries', row: 'memory', metric: 'rss_mb', limit: 150 },
]

/**
 * `kept`: the median is within the limit. `broken`: it is over, and so was every round, of three at least. `unclear`: it is over,
 * and noise may have done it: repeat with more rounds. `missing`: a row was not measured.
 */
export type Outcome = 'kept' | 'unclear' | 'broken' | 'missing'

export interface Verdict {
  readonly bound: Bound
  readonly outcome: Outcome
  readonly measured: Spread | undefined
}

/** So many rounds at least must be over a limit. */
const fewest = 3

/** Over the limit counts only where no round says otherwise. */
export function outcomeOf(measured: Spread | undefined, limit: number): Outcome {
  if (measured === undefined) return 'missing'
  if (measured.median <= limit) return 'kept'
  return measured.min > limit && measured.count >= fewest ? 'broken' : 'unclear'
}

/** Judges each bound whose row was asked for. */
export function judge(results: Pick<Results, 'rows'>, all: readonly Bound[] = bounds): Verdict[] {
  const byId = new Map(results.rows.map((row) => [row.id, row]))
  return all.flatMap((bound) => {
    const row = byId.get(bound.row)
    const reference = bound.reference === undefined ? undefined : byId.get(bound.reference)
    if (row === undefined || (bound.reference !== undefined && reference === undefined)) return []
    const measured = measure(row, reference, bound.metric)
    return [{ bound, outcome: outcomeOf(measured, bound.limit), measured }]
  })
}

const measure = (row: RowResult, reference: RowResult | undefined, metric: Metric): Spread | undefined =>
  reference === undefined ? spreadOf(row, metric) : ratioOf(row, reference, metric)
