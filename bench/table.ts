import type { Spread } from './statistics.ts'

/** A table as Markdown writes it, its columns aligned: for terminals and documents alike. The first column is text, the others numbers. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, ...rows]
  const widths = head.map((_, column) => Math.max(3, ...lines.map((cells) => width(cells[column] ?? ''))))
  const line = (cells: readonly string[]) =>
    `| ${widths.map((wide, column) => padded(cells[column] ?? '', wide, column > 0)).join(' | ')} |`
  const rule = `| ${widths.map((wide, column) => (column > 0 ? `${'-'.repeat(wide - 1)}:` : '-'.repeat(wide))).join(' | ')} |`
  return [line(head), rule, ...rows.map(line)].join('\n')
}

const width = (text: string): number => [...text].length

function padded(text: string, wide: number, right: boolean): string {
  const space = ' '.repeat(Math.max(0, wide - width(text)))
  return right ? space + text : text + space
}

/** Three digits that count: 4.63, 46.3, 463. */
export function number(value: number): string {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : 2
  return value.toFixed(digits)
}

/** `19.5 (18.9–21.2)`: the median, and the least and greatest in brackets. */
export const ranged = (of: Spread | undefined): string =>
  of === undefined ? '–' : `${number(of.median)} (${number(of.min)}–${number(of.max)})`

/** A ratio, with two digits after the point. */
export const ratio = (of: Spread | undefined): string =>
  of === undefined ? '–' : `${of.median.toFixed(2)} (${of.min.toFixed(2)}–${of.max.toFixed(2)})`
