import type { Io } from './io.ts'

/** Milliseconds between two looks at how far it has come. */
const [onTerminal, inLog] = [200, 5000]
const barWidth = 28

/** How far an import has come. */
export interface Progress {
  readonly lines: number
  readonly offset: number
  readonly rejected: number
}

const whole = (count: number): string => Math.round(count).toLocaleString('en-US')

function span(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?'
  const s = Math.round(seconds)
  return s < 60 ? `${s}s` : s < 3600 ? `${Math.floor(s / 60)}m ${s % 60}s` : `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`
}

/** A line of progress. @param size bytes of the input; null where it is not known */
export function progressText(begun: Progress, now: Progress, size: number | null, ms: number, bar: boolean): string {
  const seconds = ms / 1000
  const rate = seconds > 0 ? (now.lines - begun.lines) / seconds : 0
  const speed = seconds > 0 ? (now.offset - begun.offset) / seconds : 0
  const share = size === null ? undefined : size === 0 ? 1 : now.offset / size
  const done = Math.round((share ?? 0) * barWidth)
  return [
    ...(share === undefined ? [] : bar ? [`[${'#'.repeat(done)}${'-'.repeat(barWidth - done)}]`] : []),
    ...(share === undefined ? [] : [`${Math.floor(share * 100)}%`]),
    `${whole(now.lines)} lines`,
    `${whole(rate)}/s`,
    ...(size === null ? [] : [`ETA ${span((size - now.offset) / speed)}`]),
    ...(now.rejected > 0 ? [`${whole(now.rejected)} refused`] : []),
  ].join('  ')
}

/** Shows on standard error how far it has come: a bar on a terminal, else a line now and then. @returns a function that ends it */
export function showProgress(io: Io, terminal: boolean, size: number | null, now: () => Progress): () => void {
  const start = performance.now()
  const begun = now()
  const text = () => progressText(begun, now(), size, performance.now() - start, terminal)
  const timer = setInterval(() => io.err(terminal ? `\r${text()}\u001b[K` : `${text()}\n`), terminal ? onTerminal : inLog)
  return () => {
    clearInterval(timer)
    if (terminal) io.err(`\r${text()}\u001b[K\n`)
  }
}
