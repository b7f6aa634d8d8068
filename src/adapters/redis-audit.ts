import type { AuditEvent } from '../core/audit-event.ts'
import type { AuditSink } from '../core/ports.ts'
import { createAuditQueue } from './audit-queue.ts'
import type { RedisLink } from './redis-link.ts'
import { committed } from './redis-transaction.ts'

/** About as many events stay in the stream (XADD MAXLEN ~). */
const eventsKept = 1_000_000

export interface RedisAudit extends AuditSink {
  readonly close: () => Promise<void>
}

/** The audit trail as a stream, written in pipelines. Commands: XADD, XREVRANGE. */
export function redisAudit(link: RedisLink, realm: string, key: string): RedisAudit {
  const queue = createAuditQueue({
    realm,
    write: async (events) => {
      await link.run(async (redis) => {
        const pipeline = redis.pipeline()
        for (const event of events) pipeline.xadd(key, 'MAXLEN', '~', eventsKept, '*', 'event', JSON.stringify(event))
        await committed(pipeline.exec())
      })
    },
  })
  return {
    append: queue.append,
    commit: queue.commit,
    tail: async (limit) => {
      if (limit <= 0) return []
      await queue.flush()
      const entries = await link.run((redis) => redis.xrevrange(key, '+', '-', 'COUNT', limit))
      const events = new Map<string, AuditEvent>()
      for (const [, fields] of entries.reverse()) {
        const event = JSON.parse(fields[fields.indexOf('event') + 1] ?? 'null') as AuditEvent | null
        // A batch whose answer was lost is written again: the same id twice is one event.
        if (event !== null && !events.has(event.id)) events.set(event.id, event)
      }
      return [...events.values()]
    },
    close: queue.close,
  }
}
