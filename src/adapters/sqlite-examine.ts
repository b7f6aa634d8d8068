import { statSync } from 'node:fs'
import { openToRead, refusal } from './sqlite-file.ts'
import { problemsOf } from './sqlite-integrity.ts'
import { schemaVersion } from './sqlite-schema.ts'

/** What is in a state file. */
export interface Examined {
  readonly path: string
  /** Of the database alone, without its -wal. */
  readonly bytes: number
  /** Schema version of the file, and the one that this program brings it to. */
  readonly version: number
  readonly known: number
  /** What does not hold together; empty: nothing. */
  readonly problems: readonly string[]
  /** Rows of each table, of all realms. */
  readonly tables: readonly { readonly name: string; readonly rows: number }[]
}

/**
 * Looks through a whole state file, beside services that use it.
 * @throws {StateRefused} for a file that is none of ours, or so damaged that it cannot be looked at
 */
export function examine(path: string): Examined {
  const { database, version } = openToRead(path)
  try {
    // One moment of the file.
    database.exec('BEGIN')
    const problems = problemsOf(database)
    const names = database.prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    const tables = names.all().map((row) => {
      const name = String(row['name'])
      return { name, rows: Number(database.prepare(`SELECT count(*) AS rows FROM ${JSON.stringify(name)}`).get()?.['rows']) }
    })
    return { path, bytes: statSync(path).size, version, known: schemaVersion, problems, tables }
  } catch (error) {
    throw refusal(path, error)
  } finally {
    database.close()
  }
}
