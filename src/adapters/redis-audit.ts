import type { AuditEvent } from '../core/audit-event.ts'
import type { AuditSink } from '../core/ports.ts'
import { isDecision, newestOf } from './audit-order.ts'
import { createAuditQueue } from './audit-queue.ts'
import type { RedisLink } from './redis-link.ts'
import { committed } from './redis-transaction.ts'

export interface RedisAuditOptions {
  readonly link: RedisLink
  readonly realm: string
  /** About as many decisions stay in their stream (XADD MAXLEN ~). */
  readonly decisionsKept?: number | undefined
}

/** The audit trail in Redis. */
export interface RedisAudit extends AuditSink {
  readonly close: () => Promise<void>
}

type Entry = readonly [id: string, fields: readonly string[]]

const toEvents = (entries: readonly Entry[]): AuditEvent[] =>
  entries
    .map(([, fields]) => JSON.parse(fields[fields.indexOf('event') + 1] ?? 'null') as AuditEvent | null)
    .filter((event) => event !== null)
    .reverse()

/**
 * The audit trail as two streams, written in pipelines: decisions, of which the newest are kept, and all other events,
 * which are never trimmed here. Commands: XADD, XREVRANGE.
 */
export function redisAudit({ link, realm, decisionsKept = 1_000_000 }: RedisAuditOptions): RedisAudit {
  const others = `postern:${realm}:audit`
  const decisions = `${others}:decisions`
  const queue = createAuditQueue({
    realm,
    write: async (events) => {
      await link.run(async (redis) => {
        const pipeline = redis.pipeline()
        for (const event of events) {
          const text = JSON.stringify(event)
          if (isDecision(event)) pipeline.xadd(decisions, 'MAXLEN', '~', decisionsKept, '*', 'event', text)
          else pipeline.xadd(others, '*', 'event', text)
        }
        await committed(pipeline.exec())
      })
    },
  })
  const newest = async (key: string, limit: number) => toEvents(await link.run((redis) => redis.xrevrange(key, '+', '-', 'COUNT', limit)))
  return {
    append: queue.append,
    commit: queue.commit,
    tail: async (limit) => {
      if (limit <= 0) return []
      await queue.flush()
      return newestOf(...(await Promise.all([newest(decisions, limit), newest(others, limit)])), limit)
    },
    close: queue.close,
  }
}
