import { setImmediate } from 'node:timers/promises'
import { type Change, type ChangeFeed, type Soon, Unavailable } from '../core/ports.ts'

/** Milliseconds between two readings: a flood of entries is read in strides. */
const strideMs = 50
const retryMs = 200

/** A log in state, read a page at a time. */
export interface PagedLog<Entry> {
  readonly list: (after?: string) => Soon<{
    readonly anew: boolean
    readonly entries: readonly Entry[]
    readonly cursor: string
    readonly more: boolean
  }>
}

export interface FollowOptions<Entry> {
  readonly log: PagedLog<Entry>
  readonly feed: ChangeFeed
  /** The change that tells of new entries. */
  readonly kind: Change['kind']
  /** Takes each entry, in order; the same one may come again. */
  readonly take: (entry: Entry) => void
  /** The log is told from its beginning, maybe once more: to its end … */
  readonly begins: () => void
  /** … and all that there is has been taken. */
  readonly ends: () => void
  /** Monotonic milliseconds: the clock of `ChangeFeed.heardAt`. */
  readonly clock: () => number
}

/** What is known of a log. */
export interface FollowedLog {
  /** Monotonic milliseconds: all that was in the log by then has been taken. */
  readonly wholeUntil: () => number
  /** Takes what was in the log when it was called. @throws {Unavailable} */
  readonly catchUp: () => Promise<void>
  readonly close: () => void
}

/** Follows a log in state from its beginning: resolves after the first reading, whatever came of it. */
export async function followLog<Entry>(options: FollowOptions<Entry>): Promise<FollowedLog> {
  const { log, feed, kind, take, begins, ends, clock } = options
  /** While a change has not been read yet: up to when there is none; undefined: up to when the feed was heard. */
  let unreadSince: number | undefined = Number.NEGATIVE_INFINITY
  let cursor: string | undefined
  let asked = 0
  let reading: Promise<boolean> | undefined
  let readAt = Number.NEGATIVE_INFINITY
  let timer: NodeJS.Timeout | undefined
  let closed = false

  /** Up to when changes have been told; now, for a state that always tells. */
  const told = () => Math.min(feed.heardAt(), clock())

  async function readOn(): Promise<void> {
    for (;;) {
      const page = await log.list(cursor)
      if (closed) return
      if (page.anew) begins()
      for (const entry of page.entries) take(entry)
      cursor = page.cursor
      if (!page.more) return ends()
      // Checks have their turn between the pages of a long log.
      await setImmediate()
    }
  }

  async function read(): Promise<boolean> {
    const answering = asked
    const begun = told()
    let failed = false
    try {
      await readOn()
    } catch {
      failed = true
    }
    readAt = performance.now()
    if (!failed) unreadSince = asked === answering ? undefined : begun
    if (failed || asked !== answering) readIn(failed ? retryMs : strideMs)
    return !failed
  }

  /** One reading at a time. @returns whether it succeeded */
  function readOnce(): Promise<boolean> {
    reading ??= read().finally(() => {
      reading = undefined
    })
    return reading
  }

  function readIn(ms: number): void {
    // Never put off: a steady flood must not push the reading away from itself.
    if (closed || timer !== undefined) return
    timer = setTimeout(() => {
      timer = undefined
      void readOnce()
    }, ms)
    timer.unref()
  }

  const unsubscribe = feed.subscribe((change) => {
    if (change.kind !== kind) return
    asked += 1
    // From here on something is missing, whatever the feed says. The first of several unread changes counts.
    unreadSince ??= told()
    // One that is under way may have looked for changes already.
    if (reading || performance.now() - readAt < strideMs) readIn(strideMs)
    else void readOnce()
  })

  await readOnce()

  return {
    wholeUntil: () => unreadSince ?? feed.heardAt(),
    catchUp: async () => {
      // One that is under way began too early. There is never a second beside it: what begins anew would be counted twice.
      await reading
      if (!(await readOnce())) throw new Unavailable('the log cannot be read')
    },
    close: () => {
      closed = true
      clearTimeout(timer)
      unsubscribe()
    },
  }
}
