/** A bound on how many lines or events of one kind are written in a second. */
export interface LogBound {
  /** Whether this one is written; else it is counted. */
  readonly admits: () => boolean
  /** Tells what was counted and not told yet; stops the timer. */
  readonly close: () => void
}

/**
 * Lets `perSecond` through in each second and counts the rest, which `tell` is given once the second is over:
 * a flood of denials must not become a flood of writes.
 * @param clock monotonic milliseconds
 */
export function createLogBound(
  perSecond: number,
  tell: (suppressed: number) => void,
  clock: () => number = () => performance.now(),
): LogBound {
  let windowEnds = 0
  let admitted = 0
  let suppressed = 0
  let timer: NodeJS.Timeout | undefined

  const report = (): void => {
    clearTimeout(timer)
    timer = undefined
    if (suppressed === 0) return
    const count = suppressed
    suppressed = 0
    tell(count)
  }
  return {
    admits() {
      const now = clock()
      if (now >= windowEnds) {
        windowEnds = now + 1000
        admitted = 0
        if (suppressed > 0) report()
      }
      if (admitted < perSecond) {
        admitted++
        return true
      }
      suppressed++
      timer ??= setTimeout(report, Math.max(1, windowEnds - now)).unref()
      return false
    },
    close: report,
  }
}
