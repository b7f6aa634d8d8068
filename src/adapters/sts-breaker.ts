export type BreakerState = 'closed' | 'open' | 'half-open'

export interface BreakerOptions {
  /** Failures in a row after which it opens; 5 unless given. */
  readonly threshold?: number
  /** Milliseconds that it stays open; 5 s unless given. */
  readonly openMs?: number
  /** Monotonic milliseconds. */
  readonly clock?: () => number
}

/** Stops calls to what keeps failing, and lets one through after a while to see whether it answers again. */
export interface Breaker {
  /** Whether a call may be made now; every `true` is followed by one `done`. */
  readonly enter: () => boolean
  readonly done: (succeeded: boolean) => void
  readonly state: () => BreakerState
}

export function breaker({ threshold = 5, openMs = 5000, clock = () => performance.now() }: BreakerOptions = {}): Breaker {
  let failures = 0
  let openUntil = 0
  let probing = false
  const isOpen = (): boolean => failures >= threshold

  return {
    enter: () => {
      if (!isOpen()) return true
      if (probing || clock() < openUntil) return false
      probing = true
      return true
    },
    done: (succeeded) => {
      probing = false
      failures = succeeded ? 0 : failures + 1
      if (isOpen()) openUntil = clock() + openMs
    },
    state: () => (!isOpen() ? 'closed' : probing || clock() >= openUntil ? 'half-open' : 'open'),
  }
}
