import { ratioSpread, type Spread, spread } from './statistics.ts'

/** What one turn of one row gave. */
export interface Sample {
  /** CPU time of the servers for one request, in microseconds; of the load generator none. */
  readonly cpu_us: number
  /** Of that, what the authorizer took; where Envoy is before it. */
  readonly authorizer_us?: number
  /** Requests a second. */
  readonly rate: number
  readonly requests: number
  readonly p50_us: number
  readonly p90_us: number
  readonly p99_us: number
  /** Resident memory of the servers after the turn, in MB (1,000,000 bytes). */
  readonly rss_mb: number
  /** At the end of the load; `rss_mb` where the row does not rest. */
  readonly rss_busy_mb?: number
}

export type Metric = Exclude<keyof Sample, 'requests'>

/** A row with all its turns. */
export interface RowResult {
  readonly id: string
  readonly group: string
  readonly title: string
  /** Of the server that was measured. */
  readonly version?: string
  /** Drawn and printed as ours. */
  readonly ours: boolean
  /** One a round; null where the turn failed. */
  readonly samples: readonly (Sample | null)[]
  /** Why it was not measured, or why a turn failed. */
  readonly problem?: string
  /** The run that it comes from, where several were joined. */
  readonly run?: { readonly date: string; readonly commit: string }
}

/** A whole run, as it is written to a file. */
export interface Results {
  readonly postern: { readonly version: string; readonly commit: string; readonly changed: boolean }
  readonly date: string
  readonly machine: Readonly<Record<string, string | number>>
  readonly versions: Readonly<Record<string, string>>
  readonly settings: Readonly<Record<string, string | number>>
  readonly rows: readonly RowResult[]
}

/** The values of a row, one a round. */
export const valuesOf = (row: RowResult, metric: Metric): (number | undefined)[] => row.samples.map((sample) => sample?.[metric])

/** Median, least and greatest of a row; undefined where no turn gave anything. */
export function spreadOf(row: RowResult, metric: Metric): Spread | undefined {
  const values = valuesOf(row, metric).filter((value) => value !== undefined)
  return values.length === 0 ? undefined : spread(values)
}

/** A row against another, by rounds. */
export const ratioOf = (row: RowResult, reference: RowResult, metric: Metric): Spread | undefined =>
  ratioSpread(valuesOf(row, metric), valuesOf(reference, metric))

/**
 * Joins a run with earlier ones: groups that it measured replace theirs, since rows are compared within their group only.
 * Each row then names its run.
 */
export function joined(earlier: Results | undefined, now: Results): Results {
  const groups = new Set(now.rows.map(({ group }) => group))
  const kept = earlier?.rows.filter(({ group }) => !groups.has(group)) ?? []
  const run = { date: now.date, commit: now.postern.commit }
  return { ...now, versions: { ...earlier?.versions, ...now.versions }, rows: [...kept, ...now.rows.map((row) => ({ ...row, run }))] }
}
