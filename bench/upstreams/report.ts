import { percentile } from '../direct/report.ts'
import { median, ratioSpread } from '../statistics.ts'
import { markdownTable } from '../table.ts'
import { type Way, ways } from './envoy.ts'

/** Milliseconds, one value a sandbox. */
export interface Times {
  /** From the start of its process until it listened. */
  readonly listened: readonly number[]
  /** From the first request to its first byte: a new connection, and with mTLS a handshake. */
  readonly first: readonly number[]
  /** The next request, on the same connection. */
  readonly second: readonly number[]
}
export type Round = Readonly<Record<Way, Times>>

const titles: Readonly<Record<Way, string>> = { mtls: 'mTLS and token', jwt: 'token alone' }
const measures: readonly (readonly [title: string, of: (times: Times) => number[]])[] = [
  ['First request to a new sandbox, ms until its first byte', ({ first }) => [...first]],
  ['The next request, on the same connection', ({ second }) => [...second]],
  ['From the start of the process until it listened', ({ listened }) => [...listened]],
  ['From the start of the process to the first byte', ({ listened, first }) => listened.map((value, i) => value + (first[i] ?? 0))],
]

/** A table of each measure; ratios are of the medians within a round. */
export function report(rounds: readonly Round[]): string {
  const table = (of: (times: Times) => number[]): string => {
    const each = (way: Way): number[] => rounds.map((round) => median(of(round[way])))
    const rows = ways.map((way) => {
      const values = rounds.flatMap((round) => of(round[way]))
      const ratio = way === 'jwt' ? undefined : ratioSpread(each(way), each('jwt'))
      const numbers = [median(values), percentile(values, 0.9), Math.min(...values), Math.max(...values)]
      const told = ratio ? `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}–${ratio.max.toFixed(2)})` : '1'
      return [titles[way], String(values.length), ...numbers.map((value) => value.toFixed(2)), told]
    })
    return markdownTable(['way', 'sandboxes', 'median', 'p90', 'least', 'most', 'ratio of medians'], rows)
  }
  return measures.map(([title, of]) => `${title}:\n\n${table(of)}\n`).join('\n')
}
