// Control characters of a value must not reach a terminal.
const shown = (text: string): string => text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, '?')

/**
 * Columns of plain text, aligned by spaces.
 * @param head names of the columns; none for a list of name and value
 */
export function table(head: readonly string[] | undefined, rows: readonly (readonly string[])[]): string {
  const lines = [...(head ? [head] : []), ...rows].map((row) => row.map(shown))
  const widths: number[] = []
  for (const line of lines) for (const [i, cell] of line.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length)
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, i) => (i === line.length - 1 ? cell : cell.padEnd(widths[i]!)))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('')
}
