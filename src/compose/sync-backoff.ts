/** How long to wait between attempts. */
export interface Backoff {
  /** @param wanted milliseconds that the other side asked for @returns milliseconds */
  readonly next: (wanted?: number) => number
  /** Something succeeded: the next wait is short again. */
  readonly reset: () => void
}

const firstMs = 250
const mostMs = 30_000

/** Doubles from a quarter of a second to half a minute; each wait is between half of that and all of it, so that many do not ask at once. */
export function createBackoff(): Backoff {
  let attempts = 0
  return {
    next: (wanted = 0) => {
      const ms = Math.min(mostMs, firstMs * 2 ** attempts)
      attempts = Math.min(attempts + 1, 10)
      return Math.max(Math.min(wanted, mostMs), ms / 2 + (Math.random() * ms) / 2)
    },
    reset: () => {
      attempts = 0
    },
  }
}
