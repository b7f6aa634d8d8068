import type { DatabaseSync } from 'node:sqlite'
import type { AuditLine, AuditLogName } from '../core/audit-log.ts'
import type { AuditStore, NewLine } from './audit-chains.ts'

/** What is asked of the thread that writes. */
export type AuditWrite =
  | { readonly kind: 'audit'; readonly log: AuditLogName; readonly lines: readonly NewLine[] }
  | { readonly kind: 'audit-cut'; readonly log: AuditLogName; readonly upTo: number }

const tables: { readonly [log in AuditLogName]: string } = { events: 'audit', decisions: 'audit_decisions' }

/** Its statements, run in a transaction. */
export function prepareAuditWrites(database: DatabaseSync, realm: string): (write: AuditWrite) => boolean {
  const prepare = (table: string) => ({
    // A line with the same key would be another event in the same place of a chain: that fails, and the writer begins another.
    add: database.prepare(`INSERT INTO ${table} (realm, id, event) VALUES (?, ?, ?)`),
    cut: database.prepare(`DELETE FROM ${table} WHERE realm = ? AND seq <= ?`),
  })
  const statements = { events: prepare(tables.events), decisions: prepare(tables.decisions) }
  return (write) => {
    const { add, cut } = statements[write.log]
    if (write.kind === 'audit-cut') return cut.run(realm, write.upTo).changes > 0
    for (const { key, text } of write.lines) add.run(realm, key, text)
    return true
  }
}

export interface SqliteAuditOptions {
  readonly database: DatabaseSync
  readonly realm: string
  /** Runs a read, and tells where it failed. @throws {Unavailable} */
  readonly read: <T>(statement: () => T) => T
  /** @throws {Unavailable} */
  readonly write: (write: AuditWrite) => Promise<boolean>
}

/** The audit trail as two tables. */
export function sqliteAudit({ database, realm, read, write }: SqliteAuditOptions): AuditStore {
  const prepare = (table: string) => ({
    forth: database.prepare(`SELECT seq, event FROM ${table} WHERE realm = ? AND seq > ? ORDER BY seq LIMIT ?`),
    back: database.prepare(`SELECT seq, event FROM ${table} WHERE realm = ? AND seq < ? ORDER BY seq DESC LIMIT ?`),
    first: database.prepare(`SELECT seq FROM ${table} WHERE realm = ? ORDER BY seq LIMIT 1`),
    count: database.prepare(`SELECT count(*) AS count, max(seq) AS last FROM ${table} WHERE realm = ? AND seq > ?`),
  })
  const statements = { events: prepare(tables.events), decisions: prepare(tables.decisions) }
  /** Lines up to `last`, where `first` is the first. To count a million takes 25 ms, during which nothing is checked. */
  const counted: { [log in AuditLogName]?: { readonly first: number; readonly last: number; readonly lines: number } } = {}
  const size = (log: AuditLogName): number => {
    const first = Number(statements[log].first.get(realm)?.['seq'] ?? 0)
    const known = counted[log]
    const from = known && known.first === first ? known : { last: 0, lines: 0 }
    const { count, last } = statements[log].count.get(realm, from.last) ?? {}
    const lines = from.lines + Number(count ?? 0)
    counted[log] = { first, last: Number(last ?? from.last), lines }
    return lines
  }
  return {
    write: async (log, lines) => void (await write({ kind: 'audit', log, lines })),
    read: (log, { after, limit, newestFirst }) => {
      const { forth, back } = statements[log]
      const rows = read(() =>
        newestFirst
          ? back.all(realm, after === undefined ? Number.MAX_SAFE_INTEGER : Number(after), limit)
          : forth.all(realm, Number(after ?? 0), limit),
      )
      return rows.map(({ seq, event }): AuditLine => ({ cursor: String(seq), text: String(event) }))
    },
    size: (log) => read(() => size(log)),
    cut: async (log, upTo) => void (await write({ kind: 'audit-cut', log, upTo: Number(upTo) })),
  }
}
