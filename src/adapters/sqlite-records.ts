import type { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import { readJsonObject } from '../core/json.ts'
import { Unavailable } from '../core/ports.ts'
import type { RecordStore, StoredRecord } from '../core/record-store.ts'
import type { Write } from './sqlite-writes.ts'
import { newRevision, toStoredRecord } from './stored-record.ts'

const toRecord = (row: Record<string, unknown>): StoredRecord | undefined =>
  toStoredRecord(row['id'], readJsonObject(String(row['value'])), row['until'], row['revision'])

export interface SqliteRecordsNeeds {
  readonly database: DatabaseSync
  readonly realm: string
  /** Runs a read; throws what the port throws. */
  readonly read: <T>(statement: () => T) => T
  readonly write: (write: Write) => Promise<boolean>
}

/** Records in a state file: the table `records`. A row that another hand wrote and nobody can read is in no list, and is no record to be used. */
export function sqliteRecords({ database, realm, read, write }: SqliteRecordsNeeds): RecordStore {
  const one = database.prepare('SELECT * FROM records WHERE realm = ? AND kind = ? AND id = ?')
  const page = database.prepare('SELECT * FROM records WHERE realm = ? AND kind = ? AND id > ? ORDER BY id LIMIT ?')
  // As the index has it, or SQLite would not use it.
  const past = database.prepare(
    'SELECT * FROM records WHERE realm = ? AND kind = ? AND until > 0 AND until < ? ORDER BY until LIMIT ? OFFSET ?',
  )
  return {
    read: async (kind, id) => {
      const row = read(() => one.get(realm, kind, id))
      if (row === undefined) return undefined
      const record = toRecord(row)
      if (record === undefined) throw new Unavailable(`a record (${kind}) in the state file cannot be understood`)
      return record
    },
    write: async (kind, { id, value, until }, seen) => {
      const revision = newRevision()
      const written = await write({ kind: 'record', of: kind, id, text: JSON.stringify(value), until, revision, seen })
      return written ? revision : undefined
    },
    remove: (kind, id, seen) => write({ kind: 'record-remove', of: kind, id, seen }),
    list: async (kind, most, after = '') => {
      const rows = read(() => page.all(realm, kind, after, most))
      // A reading costs no time but this thread's own: checks have their turn between the pages of a long list.
      await setImmediate()
      return { records: rows.flatMap((row) => toRecord(row) ?? []), cursor: rows.length < most ? undefined : String(rows.at(-1)?.['id']) }
    },
    expired: async (kind, now, most) => {
      const records: StoredRecord[] = []
      // What nobody can read stays, and must not keep what comes after it from being told.
      for (let told = 0; ; ) {
        const rows = read(() => past.all(realm, kind, now, most, told))
        told += rows.length
        records.push(...rows.flatMap((row) => toRecord(row) ?? []))
        await setImmediate()
        if (rows.length < most || records.length >= most) return records.slice(0, most)
      }
    },
  }
}
