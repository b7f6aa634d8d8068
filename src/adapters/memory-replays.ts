import { type ReplayStore, Unavailable } from '../core/ports.ts'

/** Proofs kept at a time: about 100 MB, and 5,000 requests a second for the two minutes and more that each is kept. */
const most = 1_000_000

/** Proofs that were seen, in memory. */
export interface MemoryReplays extends ReplayStore {
  readonly size: () => number
}

/**
 * Proofs that were seen, in memory. What has expired is forgotten as others come. Where there are too many, the next is refused:
 * to forget one that could still be shown again would be to let it in.
 * @param clock milliseconds since the epoch
 */
export function memoryReplays(limit = most, clock: () => number = Date.now): MemoryReplays {
  // In the order in which they came, which is nearly that in which they expire.
  const kept = new Map<string, number>()
  let sweptAt = Number.NEGATIVE_INFINITY

  /** Looks at the oldest few: more than one leaves for one that comes, so that all that has expired is gone soon. */
  const forget = (now: number, atMost: number): void => {
    let looked = 0
    for (const [key, until] of kept) {
      if (++looked > atMost) return
      if (until < now) kept.delete(key)
    }
  }

  return {
    claim: (key, until) => {
      const now = clock() / 1000
      const known = kept.get(key)
      if (known !== undefined && known >= now) return false
      // Taken out first, since it is to stand where the youngest are.
      if (known !== undefined) kept.delete(key)
      forget(now, 4)
      // Seldom: to look at all of them takes milliseconds.
      if (kept.size >= limit && now - sweptAt >= 1) {
        sweptAt = now
        forget(now, limit)
      }
      if (kept.size >= limit) throw new Unavailable(`more than ${limit} proofs of possession within their lifetime`)
      kept.set(key, Math.ceil(until))
      return true
    },
    size: () => kept.size,
  }
}
