/** What several rounds say about one row. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
  /** How many values there were. */
  readonly count: number
}

/** The middle value; of an even number, the mean of the two in the middle. @throws {RangeError} for no value at all */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('a median of no values was asked for')
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  const upper = sorted[half]!
  return sorted.length % 2 === 1 ? upper : (sorted[half - 1]! + upper) / 2
}

/** Median, least, greatest and number. @throws {RangeError} for no value at all */
export function spread(values: readonly number[]): Spread {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), count: values.length }
}

/** In a larger unit. */
export const scaled = ({ median, min, max, count }: Spread, by: number): Spread => ({
  median: median / by,
  min: min / by,
  max: max / by,
  count,
})

/**
 * How one row stands to another. The ratio is taken within each round, where both met the same machine a few seconds apart,
 * and only then the median: what slows the whole machine for a while leaves it as it is.
 * @param values of the row, one a round; undefined where that round gave none
 * @param reference of the other row, in the same order
 * @returns undefined where no round has both
 */
export function ratioSpread(values: readonly (number | undefined)[], reference: readonly (number | undefined)[]): Spread | undefined {
  const ratios: number[] = []
  for (const [round, value] of values.entries()) {
    const other = reference[round]
    if (value !== undefined && other !== undefined && other > 0) ratios.push(value / other)
  }
  return ratios.length === 0 ? undefined : spread(ratios)
}

/**
 * The order of the rows in a round: every other round goes backwards, and each pair of rounds begins with the next row, so that
 * none always comes first, or always after the same one.
 */
export function rotated<T>(rows: readonly T[], round: number): readonly T[] {
  if (rows.length === 0) return rows
  const first = Math.floor(round / 2) % rows.length
  const order = [...rows.slice(first), ...rows.slice(0, first)]
  return round % 2 === 0 ? order : order.reverse()
}
