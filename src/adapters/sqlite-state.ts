import { type Revocation, type State, Unavailable } from '../core/ports.ts'
import { createAuditState } from './audit-state.ts'
import { sqliteApiKeys } from './sqlite-api-keys.ts'
import { sqliteAudit } from './sqlite-audit.ts'
import { elsewhere, openSqliteFeed } from './sqlite-feed.ts'
import { openDatabase, sameFile } from './sqlite-file.ts'
import { storedKey } from './sqlite-keys.ts'
import { sqliteLabels } from './sqlite-labels.ts'
import { sqliteRecords } from './sqlite-records.ts'
import { openSqliteWriter } from './sqlite-writer.ts'
import type { Write } from './sqlite-writes.ts'
import { checkRealm } from './state-refused.ts'
import { readRevocation, UnknownLevel } from './stored-revocation.ts'

export interface SqliteStateOptions {
  readonly path: string
  readonly realm: string
  /** Told when state begins to fail, and with undefined when it answers again. */
  readonly onFault?: (fault: string | undefined) => void
  /** Of this program, for the audit trail. */
  readonly version?: string | undefined
}

/** Milliseconds that a read on the checking thread may wait for a lock (WAL readers wait for nobody but recovery). */
const readTimeout = 50
/** Writes that no near copy knows of. */
const untold: ReadonlySet<Write['kind']> = new Set(['audit', 'audit-cut', 'api-keys-used', 'claim', 'record', 'record-remove'])
/** Revocations read at a time, in the thread that checks: about two milliseconds. */
const pageSize = 1000

const revocation = ({ level, target, at, until }: Record<string, unknown>): Revocation | undefined =>
  readRevocation({ level: String(level), target: String(target), at: Number(at), until: Number(until) })

/**
 * State in one SQLite file, for any number of processes of one host. Reads are synchronous; writes go to a thread.
 * @throws {StateRefused} where the file cannot be used
 */
export async function openSqliteState(options: SqliteStateOptions): Promise<State> {
  const { path, realm, onFault, version } = options
  checkRealm(realm)
  const database = openDatabase(path, readTimeout)
  const isThere = sameFile(path)
  const writer = openSqliteWriter(path, realm)
  const listRevocations = database.prepare(
    // The + keeps the index by `until` out of it, which would mean to look at every entry.
    'SELECT seq, level, target, at, until FROM revocations WHERE realm = ? AND seq > ? AND +until >= ? ORDER BY seq LIMIT ?',
  )
  const listKeys = database.prepare('SELECT * FROM keys WHERE realm = ? ORDER BY created_at, kid')
  const readSecret = database.prepare('SELECT value FROM secrets WHERE realm = ? AND name = ?')

  const faults: { read?: string | undefined; write?: string | undefined; revocations?: string | undefined } = {}
  const fault = () => faults.read ?? faults.write ?? faults.revocations
  let closed = false
  const failing = (what: keyof typeof faults, now: string | undefined) => {
    // What still asks a closed state is told so; it is no failure of the file.
    if (closed) return
    const before = fault()
    faults[what] = now
    if (fault() !== before) onFault?.(fault())
  }

  const read = <T>(statement: () => T): T => {
    try {
      return statement()
    } catch {
      const failure = new Unavailable(`state file ${path} cannot be read`)
      failing('read', failure.message)
      throw failure
    }
  }

  /** Labels are read without the feed too, which would have noticed: where the file is elsewhere, others write to another one. */
  const readHere = <T>(statement: () => T): T => {
    if (!isThere()) throw new Unavailable(`state file ${path}: ${elsewhere}`)
    return read(statement)
  }

  const feed = openSqliteFeed(database, realm, isThere, (now) => failing('read', now && `state file ${path}: ${now}`))
  const writeAll = async (asked: readonly Write[]): Promise<readonly boolean[]> => {
    try {
      // What is written to a file that has no name is gone with the process, and a new one would hold nothing else.
      if (!isThere()) throw new Unavailable(`state file ${path}: ${elsewhere}`)
      const outcomes = await Promise.allSettled(asked.map(writer.run))
      const results = outcomes.map((outcome) => {
        if (outcome.status === 'rejected') throw outcome.reason
        return outcome.value
      })
      failing('write', undefined)
      return results
    } catch (error) {
      const failure = error instanceof Unavailable ? error : new Unavailable(`state file ${path} cannot be written`)
      failing('write', failure.message)
      throw failure
    } finally {
      // Whoever waits for the write may then rely on every near copy of this process.
      if (asked.some(({ kind }) => !untold.has(kind))) feed.poll()
    }
  }
  const write = async (asked: Write): Promise<boolean> => (await writeAll([asked]))[0]!

  /** A log whose numbers mean nothing any more once the file has another content. */
  const renumbered =
    <Page extends { readonly cursor: string }>(list: (after?: string) => Page) =>
    (after?: string): Page => {
      const [epoch, cursor] = (after ?? '').split(' ')
      const page = list(epoch === String(feed.epoch()) ? cursor : undefined)
      return { ...page, cursor: `${feed.epoch()} ${page.cursor}` }
    }

  const apiKeys = sqliteApiKeys({ database, realm, read, write })
  const audit = createAuditState({ store: sqliteAudit({ database, realm, read, write }), realm, version })

  return {
    kind: 'file',
    labels: sqliteLabels({ database, realm, read: readHere, write, writeAll }),
    revocations: {
      list: renumbered((after = '0') => {
        const rows = read(() => listRevocations.all(realm, Number(after), Date.now() / 1000, pageSize))
        try {
          const entries = rows.map(revocation).filter((entry) => entry !== undefined)
          failing('revocations', undefined)
          return { entries, cursor: String(rows.at(-1)?.['seq'] ?? after), more: rows.length === pageSize }
        } catch (error) {
          failing('revocations', error instanceof UnknownLevel ? error.message : 'a revocation cannot be read')
          throw error
        }
      }),
      append: async (revocation) => void (await write({ kind: 'revoke', revocation })),
    },
    apiKeys: { ...apiKeys, list: renumbered(apiKeys.list) },
    keys: {
      list: async () => read(() => listKeys.all(realm)).map(storedKey),
      replace: (seen, next) => write({ kind: 'replace', seen, next }),
    },
    replays: { claim: (key, until) => write({ kind: 'claim', key, until }) },
    secrets: {
      shared: async (name, candidate) => {
        await write({ kind: 'secret', name, candidate })
        return String(read(() => readSecret.get(realm, name))?.['value'] ?? candidate)
      },
    },
    records: sqliteRecords({ database, realm, read, write }),
    audit,
    feed: { subscribe: feed.subscribe, heardAt: feed.heardAt },
    fault,
    close: async () => {
      await audit.close()
      closed = true
      await writer.close()
      feed.close()
      if (database.isOpen) database.close()
    },
  }
}
