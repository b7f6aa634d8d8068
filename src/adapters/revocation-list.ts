import { clockSkew } from '../core/jwt.ts'
import type { ChangeFeed, Revocation, RevocationCheck, RevocationStore } from '../core/ports.ts'
import { followLog } from './followed-log.ts'

const pruneMs = 60_000

export interface RevocationListOptions {
  readonly store: RevocationStore
  readonly feed: ChangeFeed
  /** Milliseconds without news after which every check is `unavailable` (`revocation.max_staleness`). */
  readonly maxStalenessMs: number
  /** Monotonic milliseconds: the clock of `ChangeFeed.heardAt`. */
  readonly clock?: () => number
}

/** The revocations in force, in memory. */
export interface RevocationList extends RevocationCheck {
  /** Durable, and in force on this replica, when it resolves. @throws {Unavailable} */
  readonly revoke: (revocation: Revocation) => Promise<void>
  /** Hears of each revocation as it comes in force here. @returns a function that ends it */
  readonly onRevoked: (listener: (revocation: Revocation) => void) => () => void
  /** Entries in memory. */
  readonly size: () => number
  readonly close: () => void
}

interface Entry {
  readonly at: number
  readonly until: number
}

/**
 * Revocations kept in memory, so that a check is one look-up. What was once heard of stays in force to its `until`, even
 * where state has forgotten it since (a failover may lose the last writes).
 */
export async function openRevocationList(options: RevocationListOptions): Promise<RevocationList> {
  const { store, feed, maxStalenessMs } = options
  const clock = options.clock ?? (() => performance.now())
  const levels: Record<Revocation['level'], Map<string, Entry>> = { token: new Map(), subject: new Map() }
  const listeners = new Set<(revocation: Revocation) => void>()

  function add(revocation: Revocation): void {
    const { level, target, at, until } = revocation
    const known = levels[level].get(target)
    if (known !== undefined && known.at >= at && known.until >= until) return
    levels[level].set(target, known === undefined ? { at, until } : { at: Math.max(at, known.at), until: Math.max(until, known.until) })
    for (const listener of listeners) listener(revocation)
  }

  const followed = await followLog({
    // What state forgets stays in force, so that it makes no difference where the list is told anew.
    log: { list: async (after) => ({ anew: false, ...(await store.list(after)) }) },
    feed,
    kind: 'revocations',
    take: add,
    begins: () => {},
    ends: () => {},
    clock,
  })

  const pruning = setInterval(() => {
    const now = Date.now() / 1000
    for (const entries of Object.values(levels)) for (const [target, { until }] of entries) if (until < now) entries.delete(target)
  }, pruneMs)
  pruning.unref()

  return {
    check: (principal, nowMs, at = clock()) => {
      if (at - followed.wholeUntil() > maxStalenessMs) return 'unavailable'
      const now = nowMs / 1000
      if (principal.tokenId !== undefined) {
        const token = levels.token.get(principal.tokenId)
        if (token !== undefined && token.until >= now) return 'revoked'
      }
      // The clock that issued it may be ahead of the one that revoked.
      const subject = levels.subject.get(principal.subject)
      if (subject !== undefined && subject.until >= now && principal.issuedAt <= subject.at + clockSkew) return 'revoked'
      return 'clear'
    },
    revoke: async (revocation) => {
      await store.append(revocation)
      add(revocation)
    },
    onRevoked: (listener) => {
      const own = (revocation: Revocation) => listener(revocation)
      listeners.add(own)
      return () => void listeners.delete(own)
    },
    size: () => levels.token.size + levels.subject.size,
    close: () => {
      clearInterval(pruning)
      followed.close()
    },
  }
}
