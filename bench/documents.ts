import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { barChart, type Chart } from './plot.ts'
import { report } from './report.ts'
import { joined, type Metric, type Results, type RowResult, spreadOf } from './results.ts'
import { scaled } from './statistics.ts'

/** Charts of docs/performance.md: file name → rows and what is drawn of them. */
const charts: Readonly<Record<string, { title: string; measure: string; metric: Metric; by?: number; rows: (row: RowResult) => boolean }>> =
  {
    'cpu-a-check': {
      title: 'CPU a check, asked directly',
      measure: 'server CPU time of one check in µs; median of the rounds, and their range; less is better',
      metric: 'cpu_us',
      rows: ({ group }) => group === 'servers',
    },
    'cpu-through-envoy': {
      title: 'CPU a request, through Envoy',
      measure: 'CPU time of Envoy and authorizer for one request in µs; median of the rounds, and their range; less is better',
      metric: 'cpu_us',
      rows: ({ group }) => group === 'envoy',
    },
    'p99-through-envoy': {
      title: 'p99 through Envoy, saturated',
      measure: 'time within which 99 of 100 requests are answered, in ms; median of the rounds, and their range; less is better',
      metric: 'p99_us',
      by: 1000,
      rows: ({ group }) => group === 'envoy',
    },
    'other-work': {
      title: 'What else Postern does',
      measure: 'server CPU time of one check in µs; median of the rounds, and their range; less is better',
      metric: 'cpu_us',
      // The reference of the other groups is the same server once more.
      rows: ({ group, ours }) => group === 'work' || (ours && (group === 'size' || group === 'labels')),
    },
  }

/** Draws every chart that the results have rows for: file name → SVG. */
export function drawCharts(results: Pick<Results, 'rows'>): Map<string, string> {
  const drawn = new Map<string, string>()
  for (const [name, { title, measure, metric, by = 1, rows }] of Object.entries(charts)) {
    const bars: Chart['bars'] = results.rows.filter(rows).flatMap((row) => {
      const value = spreadOf(row, metric)
      if (value === undefined) return []
      return [{ label: row.title.replace(/^Postern: /, ''), value: scaled(value, by), ours: row.ours }]
    })
    if (bars.length > 0) drawn.set(`${name}.svg`, barChart({ title, measure, bars }))
  }
  return drawn
}

/** Writes results.json, the tables and the charts into a folder, docs/performance of the checkout; groups not measured now stay as they were. */
export function writeDocuments(folder: string, results: Results, referenceOf: (group: string) => string | undefined): void {
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'results.json')
  const all = joined(existsSync(file) ? readResults(file) : undefined, results)
  writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`)
  writeFileSync(
    join(folder, 'tables.md'),
    `# Tables of the last benchmark\n\nWritten by \`npm run bench -- --write-docs\`; [how to read them](../performance.md).\n\n${report(all, referenceOf)}\n`,
  )
  for (const [name, svg] of drawCharts(all)) writeFileSync(join(folder, name), svg)
}

/** Reads a file that a run has written. */
export const readResults = (file: string): Results => JSON.parse(readFileSync(file, 'utf8')) as Results
