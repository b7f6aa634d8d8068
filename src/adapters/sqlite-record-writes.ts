import type { DatabaseSync } from 'node:sqlite'
import type { RecordKind } from '../core/record-store.ts'

/** Writes of records, as the thread that writes is asked for them. */
export type RecordWrite =
  | {
      readonly kind: 'record'
      readonly of: RecordKind
      readonly id: string
      /** The value in JSON. */
      readonly text: string
      readonly until: number
      /** What it becomes. */
      readonly revision: string
      /** What must be there; undefined: nothing. */
      readonly seen: string | undefined
    }
  /** Without `seen`, whatever is there. */
  | { readonly kind: 'record-remove'; readonly of: RecordKind; readonly id: string; readonly seen: string | undefined }

/** The statements of each; run in the thread that writes, inside its transaction. @returns whether it was as the caller had seen it, and is written */
export function prepareRecordWrites(database: DatabaseSync, realm: string): (write: RecordWrite) => boolean {
  const create = database.prepare(
    'INSERT INTO records (realm, kind, id, value, until, revision) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  )
  const update = database.prepare(
    'UPDATE records SET value = ?, until = ?, revision = ? WHERE realm = ? AND kind = ? AND id = ? AND revision = ?',
  )
  const remove = database.prepare('DELETE FROM records WHERE realm = ? AND kind = ? AND id = ? AND (?4 IS NULL OR revision = ?4)')
  return (write) => {
    if (write.kind === 'record-remove') return remove.run(realm, write.of, write.id, write.seen ?? null).changes > 0
    const { of, id, text, until, revision, seen } = write
    if (seen === undefined) return create.run(realm, of, id, text, until, revision).changes > 0
    return update.run(text, until, revision, realm, of, id, seen).changes > 0
  }
}
