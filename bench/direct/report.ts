import { median, ratioSpread } from '../statistics.ts'
import { markdownTable } from '../table.ts'
import { type Round, type Way, ways } from './measure.ts'

const titles: Readonly<Record<Way, string>> = {
  direct: 'Envoy → sandbox',
  hop: 'Envoy → router → sandbox, the router told the address',
  lookup: 'Envoy → router → sandbox, the router looks it up in Redis',
}

/** The value below which this share lies; of few values the greatest. @param share 0 to 1 */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
}

const ms = (us: number): string => (us / 1000).toFixed(2)

/** A table of the first and one of the second request: ms until the first byte, and ratios within the rounds. */
export function report(rounds: readonly Round[]): string {
  const table = (which: 'first' | 'second'): string => {
    const all = (way: Way): number[] => rounds.flatMap((round) => round[way][which])
    const each = (way: Way): number[] => rounds.map((round) => median(round[way][which]))
    const rows = ways.map((way) => {
      const values = all(way)
      const ratio = way === 'direct' ? undefined : ratioSpread(each(way), each('direct'))
      const more = way === 'direct' ? '' : ms(median(each(way)) - median(each('direct')))
      return [
        titles[way],
        String(values.length),
        ms(median(values)),
        ms(percentile(values, 0.9)),
        ms(percentile(values, 0.99)),
        ratio ? `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})` : '1',
        more,
      ]
    })
    return markdownTable(['way', 'sandboxes', 'median', 'p90', 'p99', 'ratio of medians', 'more'], rows)
  }
  return `First request to a new sandbox, ms until its first byte:\n\n${table('first')}\n\nThe next request to the same one:\n\n${table('second')}\n`
}
