import type { DatabaseSync } from 'node:sqlite'
import { setImmediate } from 'node:timers/promises'
import type { LabelStore, StoredLabels } from '../core/ports.ts'
import { parseLabels } from './sqlite-label-writes.ts'
import type { Write } from './sqlite-writes.ts'

/** Records read at a time, in the thread that checks: about a millisecond. */
const pageSize = 500

export interface SqliteLabelsNeeds {
  readonly database: DatabaseSync
  readonly realm: string
  /** Runs a read; throws what the port throws. */
  readonly read: <T>(statement: () => T) => T
  readonly write: (write: Write) => Promise<boolean>
  /** As `write`, for many: each stands for itself, and all have been tried when it throws. */
  readonly writeAll: (writes: readonly Write[]) => Promise<readonly boolean[]>
}

/** Labels in a state file: the table `labels`, whose rows hold a JSON array of pairs. */
export function sqliteLabels({ database, realm, read, write, writeAll }: SqliteLabelsNeeds): LabelStore {
  const one = database.prepare('SELECT labels FROM labels WHERE realm = ? AND resource = ? AND id = ?')
  const page = database.prepare(
    'SELECT resource, id, labels FROM labels WHERE realm = ? AND (resource, id) > (?, ?) ORDER BY resource, id LIMIT ?',
  )
  const pageOf = database.prepare('SELECT resource, id, labels FROM labels WHERE realm = ? AND resource = ? AND id > ? ORDER BY id LIMIT ?')
  return {
    read: (resource, id) => {
      const row = read(() => one.get(realm, resource, id))
      return row && { labels: parseLabels(row['labels']) }
    },
    write: async (resource, id, labels) => void (await write({ kind: 'write', resource, id, labels: [...labels] })),
    remove: (resource, id) => write({ kind: 'remove', resource, id }),
    swap: (resource, id, seen, next) => write({ kind: 'swap', resource, id, seen: seen && [...seen], labels: [...next] }),
    writeMany: (entries, mode) =>
      writeAll(
        entries.map(({ resource, id, labels }) => ({
          kind: mode === 'replace' ? 'write' : 'write-absent',
          resource,
          id,
          labels: [...labels],
        })),
      ),
    list: async ({ resource, member }, most, after = '') => {
      // A kind of resource holds no colon, an id may. What is no cursor begins anew.
      const colon = Math.max(0, after.indexOf(':'))
      const [afterResource, afterId] = [after.slice(0, colon), after.includes(':') ? after.slice(colon + 1) : '']
      const limit = Math.min(most, pageSize)
      const rows = read(() =>
        resource === undefined ? page.all(realm, afterResource, afterId, limit) : pageOf.all(realm, resource, afterId, limit),
      )
      const entries: StoredLabels[] = []
      for (const row of rows) {
        const labels = parseLabels(row['labels'])
        if (member === undefined || labels.get(member[0]) === member[1])
          entries.push({ resource: String(row['resource']), id: String(row['id']), labels })
      }
      // A reading costs no time but this thread's own: checks have their turn between the pages of a long list.
      await setImmediate()
      const last = rows.at(-1)
      return { entries, cursor: last === undefined || rows.length < limit ? undefined : `${last['resource']}:${last['id']}` }
    },
  }
}
