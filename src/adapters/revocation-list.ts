import { setImmediate } from 'node:timers/promises'
import { clockSkew } from '../core/jwt.ts'
import type { ChangeFeed, Revocation, RevocationCheck, RevocationStore } from '../core/ports.ts'

const pruneMs = 60_000
/** Milliseconds between two readings: a flood of revocations is read in strides. */
const strideMs = 50
const retryMs = 200

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
  /** What is in memory is known to be whole up to here, while a change has not been read yet; undefined: as the feed says. */
  let wholeUntil: number | undefined = Number.NEGATIVE_INFINITY
  /** What the store has told so far. */
  let cursor: string | undefined
  let asked = 0
  let reading = false
  let readAt = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let closed = false

  /** Up to when changes have been told; now, for a state that always tells. */
  const told = () => Math.min(feed.heardAt(), clock())

  function add(revocation: Revocation): void {
    const { level, target, at, until } = revocation
    const known = levels[level].get(target)
    if (known !== undefined && known.at >= at && known.until >= until) return
    levels[level].set(target, known === undefined ? { at, until } : { at: Math.max(at, known.at), until: Math.max(until, known.until) })
    for (const listener of listeners) listener(revocation)
  }

  async function readOn(): Promise<void> {
    for (;;) {
      const page = await store.list(cursor)
      for (const revocation of page.entries) add(revocation)
      cursor = page.cursor
      if (!page.more || closed) return
      // Checks have their turn between the pages of a long list.
      await setImmediate()
    }
  }

  async function read(): Promise<void> {
    if (reading || closed) return
    reading = true
    const answering = asked
    const begun = told()
    let failed = false
    try {
      await readOn()
    } catch {
      failed = true
    }
    reading = false
    readAt = performance.now()
    if (!failed) wholeUntil = asked === answering ? undefined : begun
    if (failed || asked !== answering) readIn(failed ? retryMs : strideMs)
  }

  function readIn(ms: number): void {
    // Never put off: a steady flood must not push the reading away from itself.
    if (closed || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      void read()
    }, ms)
    timer.unref()
  }

  const unsubscribe = feed.subscribe((change) => {
    if (change.kind !== 'revocations') return
    asked += 1
    // From here on something is missing, whatever the feed says. The first of several unread changes counts.
    wholeUntil ??= told()
    if (performance.now() - readAt < strideMs) readIn(strideMs)
    else void read()
  })

  const pruning = setInterval(() => {
    const now = Date.now() / 1000
    for (const entries of Object.values(levels)) for (const [target, { until }] of entries) if (until < now) entries.delete(target)
  }, pruneMs)
  pruning.unref()

  await read()

  return {
    check: (principal, nowMs, at = clock()) => {
      const heardAt = feed.heardAt()
      if (at - (wholeUntil ?? heardAt) > maxStalenessMs) return 'unavailable'
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
      closed = true
      clearTimeout(timer)
      clearInterval(pruning)
      unsubscribe()
    },
  }
}
