import type { AuditLine, AuditLogName } from '../core/audit-log.ts'
import type { AuditStore } from './audit-chains.ts'

/** The lines of one realm; gone with the process. */
export type MemoryAudit = { readonly [log in AuditLogName]: { seq: number; lines: AuditLine[] } }

export const createMemoryAudit = (): MemoryAudit => ({ events: { seq: 0, lines: [] }, decisions: { seq: 0, lines: [] } })

/** The audit trail in memory. */
export function memoryAudit(audit: MemoryAudit): AuditStore {
  return {
    write: async (log, lines) => {
      for (const { text } of lines) audit[log].lines.push({ cursor: String(++audit[log].seq), text })
    },
    read: (log, { after, limit, newestFirst }) => {
      const { lines } = audit[log]
      if (newestFirst) {
        const end =
          after === undefined ? lines.length : Math.max(0, lines.findLastIndex(({ cursor }) => Number(cursor) < Number(after)) + 1)
        return lines.slice(Math.max(0, end - limit), end).reverse()
      }
      const start = after === undefined ? 0 : lines.findLastIndex(({ cursor }) => Number(cursor) <= Number(after)) + 1
      return lines.slice(start, start + limit)
    },
    size: (log) => audit[log].lines.length,
    cut: async (log, upTo) => {
      audit[log].lines = audit[log].lines.filter(({ cursor }) => Number(cursor) > Number(upTo))
    },
  }
}
