/** Tells how long a message that is read now may have waited in the kernel, where nobody could see it. */
export interface TurnClock {
  /** @param now performance.now() milliseconds. @returns milliseconds */
  readonly waitedMs: (now: number) => number
}

export interface TurnClockOptions {
  /** Milliseconds that the event loop has spent waiting for events so far. */
  readonly idleMs: () => number
  /** Calls back when the event loop has read what there was to read. */
  readonly afterTurn: (then: () => void) => void
  /** Calls back again and again, a few dozen times a second, also where no message comes. */
  readonly regularly: (then: () => void) => void
}

const everyMs = 20

const ofThisProcess: TurnClockOptions = {
  idleMs: () => performance.nodeTiming.idleTime,
  afterTurn: (then) => void setImmediate(then),
  regularly: (then) => void setInterval(then, everyMs).unref(),
}

/**
 * HTTP/2 says not when a message was sent. But in each turn the event loop reads all of its sockets, so what it reads now
 * came after the turn before had begun: it waited no longer than the loop has been busy since then.
 */
export function createTurnClock({ idleMs, afterTurn, regularly }: TurnClockOptions = ofThisProcess): TurnClock {
  let begun = 0
  let idleAtBegin = 0
  let open = false
  /** How long the loop was busy from the beginning of the turn before to that of this one. */
  let before = 0
  const end = (): void => {
    open = false
  }
  const look = (now: number): void => {
    if (open) return
    open = true
    afterTurn(end)
    const idle = idleMs()
    before = begun === 0 ? 0 : Math.max(0, now - begun - (idle - idleAtBegin))
    begun = now
    idleAtBegin = idle
  }
  // Else all that the loop did since the last message would count, however long ago that was.
  regularly(() => look(performance.now()))
  return {
    waitedMs: (now) => {
      look(now)
      return before + (now - begun)
    },
  }
}
