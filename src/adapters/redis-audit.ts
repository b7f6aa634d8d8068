import type { AuditLine, AuditLogName } from '../core/audit-log.ts'
import type { AuditStore } from './audit-chains.ts'
import type { RedisLink } from './redis-link.ts'
import { committed } from './redis-transaction.ts'

type Entry = readonly [id: string, fields: readonly string[]]

const lineOf = ([cursor, fields]: Entry): AuditLine => ({ cursor, text: fields[fields.indexOf('event') + 1] ?? '' })

/** The id after this one (https://redis.io/docs/latest/develop/data-types/streams/#entry-ids): milliseconds, then a counter. */
function next(id: string): string {
  const [ms = '0', counter = '0'] = id.split('-')
  return `${ms}-${BigInt(counter) + 1n}`
}

/** The audit trail as two streams. Commands: MULTI, EXEC, XADD, XRANGE, XREVRANGE, XLEN, XTRIM. */
export function redisAudit(link: RedisLink, realm: string): AuditStore {
  const keys: { readonly [log in AuditLogName]: string } = {
    events: `postern:${realm}:audit`,
    decisions: `postern:${realm}:audit:decisions`,
  }
  return {
    write: (log, lines) =>
      link.run(async (redis) => {
        // Whole or not at all: a chain has no gaps.
        const transaction = redis.multi()
        for (const { text } of lines) transaction.xadd(keys[log], '*', 'event', text)
        await committed(transaction.exec())
      }),
    read: (log, { after, limit, newestFirst }) =>
      link.run(async (redis) => {
        const from = after === undefined ? undefined : `(${after}`
        const key = keys[log]
        const entries = await (newestFirst
          ? redis.xrevrange(key, from ?? '+', '-', 'COUNT', limit)
          : redis.xrange(key, from ?? '-', '+', 'COUNT', limit))
        return entries.map(lineOf)
      }),
    size: (log) => link.run((redis) => redis.xlen(keys[log])),
    cut: (log, upTo) => link.run(async (redis) => void (await redis.xtrim(keys[log], 'MINID', '=', next(upTo)))),
  }
}
