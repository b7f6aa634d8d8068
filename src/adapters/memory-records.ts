import { setImmediate } from 'node:timers/promises'
import { readJsonObject } from '../core/json.ts'
import type { RecordKind, RecordStore, StoredRecord } from '../core/record-store.ts'
import { newRevision } from './stored-record.ts'

interface Kept {
  /** The value is kept as text, so that nobody who holds it can change what is stored. */
  readonly text: string
  readonly until: number
  readonly revision: string
  /** Place in the list: that of its creation. */
  readonly seq: number
}

/** Records in memory; gone with the process. */
export function memoryRecords(): RecordStore {
  const kinds = new Map<RecordKind, Map<string, Kept>>()
  let made = 0

  const of = (kind: RecordKind): Map<string, Kept> => {
    const known = kinds.get(kind) ?? new Map<string, Kept>()
    kinds.set(kind, known)
    return known
  }
  const toRecord = (id: string, { text, until, revision }: Kept): StoredRecord => ({
    id,
    value: readJsonObject(text) ?? {},
    until,
    revision,
  })

  return {
    read: async (kind, id) => {
      const kept = of(kind).get(id)
      return kept && toRecord(id, kept)
    },
    write: async (kind, { id, value, until }, seen) => {
      const before = of(kind).get(id)
      if (before?.revision !== seen) return undefined
      const revision = newRevision()
      // A Map keeps the place of a key that is set again, and so does `seq`.
      of(kind).set(id, { text: JSON.stringify(value), until, revision, seq: before?.seq ?? ++made })
      return revision
    },
    remove: async (kind, id, seen) => {
      const before = of(kind).get(id)
      if (before === undefined || (seen !== undefined && before.revision !== seen)) return false
      return of(kind).delete(id)
    },
    list: async (kind, most, after) => {
      // Checks have their turn between the pages of a long list.
      await setImmediate()
      const records: StoredRecord[] = []
      const from = Number(after ?? 0)
      let last = from
      for (const [id, kept] of of(kind)) {
        if (kept.seq <= from) continue
        if (records.length >= most) return { records, cursor: String(last) }
        records.push(toRecord(id, kept))
        last = kept.seq
      }
      return { records, cursor: undefined }
    },
    expired: async (kind, now, most) => {
      await setImmediate()
      const records: StoredRecord[] = []
      for (const [id, kept] of of(kind)) {
        if (records.length >= most) break
        if (kept.until !== 0 && kept.until < now) records.push(toRecord(id, kept))
      }
      return records
    },
  }
}
