/** What is written of events of several kinds, so that one that comes in floods does not hide another. */
export interface LogSample {
  /**
   * Whether an event of this kind is written.
   * @returns how many of its kind were counted since the last that was written; undefined where this one is counted too
   */
  readonly admits: (kind: string) => number | undefined
  /** Tells what was counted and not told yet; stops the timer. */
  readonly close: () => void
}

export interface LogSampleOptions {
  /** Lines that a kind may write at once. */
  readonly burst: number
  /** Lines that it may write in a second when those are used up. */
  readonly perSecond: number
  /** Kinds that are told apart; all beyond share one budget. */
  readonly kinds: number
  /** Told what was counted when a kind has been quiet for a while; `undefined` names those that were not told apart. */
  readonly tell: (kind: string | undefined, suppressed: number) => void
  /** Monotonic milliseconds. */
  readonly clock?: () => number
}

/** How long a count waits for a line of its kind to be told with. */
const tellAfterMs = 10_000

interface Budget {
  tokens: number
  at: number
  suppressed: number
}

/** A budget of lines for each kind (a token bucket), and at most so many of them: what is written in a second is bounded whatever comes. */
export function createLogSample(options: LogSampleOptions): LogSample {
  const { burst, perSecond, kinds, tell, clock = () => performance.now() } = options
  const budgets = new Map<string, Budget>()
  const rest: Budget = { tokens: burst, at: clock(), suppressed: 0 }
  let timer: NodeJS.Timeout | undefined

  const budgetOf = (kind: string, now: number): Budget => {
    const known = budgets.get(kind)
    if (known) return known
    if (budgets.size >= kinds) return rest
    const made = { tokens: burst, at: now, suppressed: 0 }
    budgets.set(kind, made)
    return made
  }
  const report = (): void => {
    clearTimeout(timer)
    timer = undefined
    for (const [kind, budget] of [...budgets, [undefined, rest] as const]) {
      const { suppressed } = budget
      budget.suppressed = 0
      if (suppressed > 0) tell(kind, suppressed)
    }
  }
  return {
    admits(kind) {
      const now = clock()
      const budget = budgetOf(kind, now)
      budget.tokens = Math.min(burst, budget.tokens + ((now - budget.at) / 1000) * perSecond)
      budget.at = now
      if (budget.tokens < 1) {
        budget.suppressed++
        timer ??= setTimeout(report, tellAfterMs).unref()
        return undefined
      }
      budget.tokens--
      const { suppressed } = budget
      budget.suppressed = 0
      return suppressed
    },
    close: report,
  }
}
