import type { AuditEvent } from '../core/audit-event.ts'
import { type AuditSink, Unavailable } from '../core/ports.ts'
import { createIds } from './ids.ts'

export interface AuditQueueOptions {
  readonly realm: string
  /** Makes a batch durable, in order. An event may come twice where an answer was lost. @throws {Unavailable} */
  readonly write: (events: readonly AuditEvent[]) => Promise<void>
  /** Events kept while they cannot be written. */
  readonly limit?: number
  /** Milliseconds that an event waits for company. */
  readonly gatherMs?: number
  /** Milliseconds before what could not be written is tried again. */
  readonly retryMs?: number
}

/** The queue before one log of the audit trail: each log has its own, so that a flood of decisions leaves room for what administrators do. */
export interface AuditQueue extends Pick<AuditSink, 'append'> {
  /**
   * Resolves when the event is durable. Where it is not, whoever waits is told so, and the event stays queued, for what it tells
   * of has been done by then: only what is to be written now `or never` is forgotten.
   * @throws {Unavailable}
   */
  readonly commit: (event: AuditEvent, otherwise?: 'later' | 'or never') => Promise<void>
  /** Writes what is queued; resolves when there is nothing left or writing failed. */
  readonly flush: () => Promise<void>
  /** Events that were lost for want of room and not yet reported. */
  readonly dropped: () => number
  /** Tries once more to write what is queued, then stops. */
  readonly close: () => Promise<void>
}

interface Waiter {
  readonly resolve: () => void
  readonly reject: (error: Unavailable) => void
}

interface Entry {
  readonly event: AuditEvent
  readonly waiter?: Waiter
  readonly orNever?: boolean
}

const batchSize = 500

/**
 * Gathers audit events into batches, keeps a bounded number while state cannot be written, and tells once,
 * in one event with a count, what had to be dropped.
 */
export function createAuditQueue(options: AuditQueueOptions): AuditQueue {
  const { realm, write, limit = 10_000, gatherMs = 200, retryMs = 1000 } = options
  const nextId = createIds()
  let queue: Entry[] = []
  let dropped = 0
  let timer: NodeJS.Timeout | undefined
  let draining: Promise<void> | undefined
  let closed = false

  const schedule = (ms: number) => {
    if (timer !== undefined || closed) return
    timer = setTimeout(() => {
      timer = undefined
      void flush()
    }, ms)
    timer.unref()
  }

  const isFull = () => queue.length >= limit

  const reportDropped = () => {
    if (dropped === 0) return
    const detail = { aggregate: true, dropped }
    const time = new Date().toISOString()
    queue.push({ event: { id: nextId(), time, type: 'decision', outcome: 'failure', realm, reason: 'audit_overflow', detail } })
    dropped = 0
  }

  /** @returns whether everything was written */
  async function drain(): Promise<boolean> {
    while (queue.length > 0) {
      const batch = queue.slice(0, batchSize)
      try {
        await write(batch.map(({ event }) => event))
      } catch (error) {
        const failure = error instanceof Unavailable ? error : new Unavailable('the audit trail cannot be written')
        const failed = queue
        queue = failed.filter(({ orNever }) => !orNever).map(({ event }) => ({ event }))
        for (const { waiter } of failed) waiter?.reject(failure)
        return false
      }
      queue.splice(0, batch.length)
      for (const { waiter } of batch) waiter?.resolve()
      reportDropped()
    }
    return true
  }

  async function flush(): Promise<void> {
    draining ??= drain().then((whole): Promise<void> | undefined => {
      draining = undefined
      if (whole) return queue.length > 0 ? flush() : undefined
      schedule(retryMs)
      return undefined
    })
    await draining
  }

  return {
    append: (event) => {
      if (closed || isFull()) dropped += 1
      else queue.push({ event })
      schedule(gatherMs)
    },
    commit: (event, otherwise = 'later') => {
      const orNever = otherwise === 'or never'
      if (closed) return Promise.reject(new Unavailable('the audit trail is closed'))
      if (isFull()) {
        if (!orNever) dropped += 1
        return Promise.reject(new Unavailable(`the audit trail has ${limit} events that could not be written yet`))
      }
      return new Promise<void>((resolve, reject) => {
        queue.push({ event, waiter: { resolve, reject }, orNever })
        void flush()
      })
    },
    flush,
    dropped: () => dropped,
    close: async () => {
      if (closed) return
      closed = true
      clearTimeout(timer)
      timer = undefined
      await draining
      await flush()
    },
  }
}
