import type { DatabaseSync } from 'node:sqlite'
import type { ChangeFeed } from '../core/ports.ts'
import { createChanges } from './changes.ts'

/** The change feed of a state file. */
export interface SqliteFeed extends ChangeFeed {
  /** Tells at once what was committed since. */
  readonly poll: () => void
  /** Another number where the file was given an older content (restored from a backup): numbers of rows begin again there. */
  readonly epoch: () => number
  readonly close: () => void
}

/** Milliseconds between polls: another process's write is told within this, and a thread's turn. A poll takes some microseconds. */
const pollMs = 100
/** What is said of a file that is not found where it was. */
export const elsewhere = 'it was moved, removed or replaced: put it back, or start again'
/** More changes at once than this are told as "anything". */
const mostChanges = 1000

/**
 * Follows the table `changes`, which triggers fill. `PRAGMA data_version` says, without touching the disk, whether any
 * other connection has committed (https://sqlite.org/pragma.html#pragma_data_version); the writing thread is one as well.
 * @param isThere whether the path still leads to the file that is open
 * @param failing told why the file cannot be read, and undefined once it can again
 */
export function openSqliteFeed(
  database: DatabaseSync,
  realm: string,
  isThere: () => boolean,
  failing: (fault: string | undefined) => void,
): SqliteFeed {
  const changes = createChanges()
  const dataVersion = database.prepare('PRAGMA data_version')
  const newest = database.prepare('SELECT coalesce(max(seq), 0) AS seq FROM changes')
  const since = database.prepare(`SELECT seq, realm, kind, resource, id FROM changes WHERE seq > ? ORDER BY seq LIMIT ${mostChanges + 1}`)

  const versionNow = () => Number(dataVersion.get()?.['data_version'])
  let version = versionNow()
  const newestNow = () => Number(newest.get()?.['seq'])
  let told = newestNow()
  let heardAt = performance.now()
  let epoch = 0

  const tellAnew = (seq: number) => {
    told = seq
    changes.tellAll()
  }

  const tellSince = () => {
    const rows = since.all(told)
    const first = rows[0]
    if (first === undefined) {
      const last = newestNow()
      if (last >= told) return
      epoch += 1
      return tellAnew(last)
    }
    // A gap: this process fell so far behind that the rows it had not read were trimmed.
    if (rows.length > mostChanges || Number(first['seq']) !== told + 1) return tellAnew(newestNow())
    told = Number(rows.at(-1)?.['seq'])
    const kinds = new Set<'revocations' | 'keys' | 'api-keys'>()
    for (const row of rows) {
      if (row['realm'] !== realm) continue
      if (row['kind'] === 'label')
        changes.tell({ kind: 'label', source: undefined, resource: String(row['resource']), id: String(row['id']) })
      else kinds.add(row['kind'] === 'keys' || row['kind'] === 'api-keys' ? row['kind'] : 'revocations')
    }
    for (const kind of kinds) changes.tell({ kind })
  }

  const poll = () => {
    if (!database.isOpen) return
    const now = performance.now()
    // What others revoke from here on is in another file.
    if (!isThere()) return failing(elsewhere)
    try {
      const current = versionNow()
      if (current !== version) {
        tellSince()
        // Only now: what could not be read this time is read the next.
        version = current
      }
      heardAt = now
      failing(undefined)
    } catch {
      failing('it cannot be read')
    }
  }

  const timer = setInterval(poll, pollMs)
  timer.unref()

  return {
    subscribe: changes.subscribe,
    // A thread that was busy for long has missed its timer; asking costs microseconds, so it asks.
    heardAt: () => {
      if (performance.now() - heardAt > pollMs) poll()
      return heardAt
    },
    poll,
    epoch: () => epoch,
    close: () => clearInterval(timer),
  }
}
