import type { Spread } from './statistics.ts'
import { number } from './table.ts'

/** One bar: the median, with a line from the least to the greatest. */
export interface Bar {
  readonly label: string
  readonly value: Spread
  /** Drawn in the colour of what the chart is about. */
  readonly ours?: boolean
}

export interface Chart {
  readonly title: string
  /** What is measured, with its unit: stands under the title. */
  readonly measure: string
  readonly bars: readonly Bar[]
}

const labelWidth = 340
const plotWidth = 380
const valueWidth = 130
const barHeight = 20
const rowHeight = 32
const top = 62
const width = labelWidth + plotWidth + valueWidth

// Mid tones with enough contrast on white and on black alike: pages that embed the picture give it either background.
const ink = '#7a828c'
const colours = { ours: '#2f81d6', other: '#9aa3ad', range: '#5c646d' }

/** A bar chart as SVG: horizontal bars from zero, one a row, without scripts, fonts or a background of its own. */
export function barChart({ title, measure, bars }: Chart): string {
  const height = top + bars.length * rowHeight + 10
  const scale = plotWidth / Math.max(1e-9, ...bars.map(({ value }) => value.max))
  const described = bars.map(({ label, value }) => `${label}: ${number(value.median)}`).join('; ')
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description" font-family="system-ui, -apple-system, 'Segoe UI', sans-serif">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(`${measure}. ${described}`)}</desc>`,
    `<text x="8" y="24" font-size="16" font-weight="600" fill="${ink}">${escaped(title)}</text>`,
    `<text x="8" y="45" font-size="12.5" fill="${ink}">${escaped(measure)}</text>`,
    `<line x1="${labelWidth}" y1="${top - 6}" x2="${labelWidth}" y2="${height - 8}" stroke="${ink}" stroke-width="1"/>`,
    ...bars.flatMap((bar, index) => row(bar, top + index * rowHeight, scale)),
    '</svg>',
  ].join('\n')}\n`
}

function row({ label, value, ours = false }: Bar, y: number, scale: number): string[] {
  const at = (amount: number) => (labelWidth + amount * scale).toFixed(1)
  const middle = y + barHeight / 2
  const weight = ours ? ' font-weight="600"' : ''
  const tick = (amount: number) => `M${at(amount)} ${middle - 4}V${middle + 4}`
  return [
    `<text x="${labelWidth - 10}" y="${middle + 4.5}" font-size="13" text-anchor="end" fill="${ink}"${weight}>${escaped(label)}</text>`,
    `<rect x="${labelWidth}" y="${y}" width="${(value.median * scale).toFixed(1)}" height="${barHeight}" rx="2" fill="${ours ? colours.ours : colours.other}"/>`,
    `<path d="M${at(value.min)} ${middle}H${at(value.max)}${tick(value.min)}${tick(value.max)}" stroke="${colours.range}" stroke-width="1.5" fill="none"/>`,
    `<text x="${(labelWidth + value.max * scale + 8).toFixed(1)}" y="${middle + 4.5}" font-size="13" fill="${ink}"${weight}>${number(value.median)}</text>`,
  ]
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => entities[character]!)
