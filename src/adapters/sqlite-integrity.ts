import { statSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { StateRefused } from './state-refused.ts'

/** Bytes up to which every index is compared with its table: about 10 ms for a megabyte. */
const wholeUpTo = 16 * 1024 * 1024

/** What is looked at in a larger file: all but the audit trail, which has hashes of its own and may have any size; 1 ms for a megabyte. */
const lookedAt = (table: string): boolean => !/^(?:audit|sqlite_|changes)/.test(table)

/**
 * Whether the pages of a file hold together. Bytes changed inside of a text that no index repeats are found by nobody.
 * @throws {StateRefused} for one that is damaged; what SQLite throws where it cannot even look
 */
export function refuseDamaged(database: DatabaseSync, path: string): void {
  const check = (pragma: string): void => {
    const found = database
      .prepare(`PRAGMA ${pragma}`)
      .all()
      .map((row) => String(Object.values(row)[0]))
    if (found.length === 1 && found[0] === 'ok') return
    throw new StateRefused(
      `state file ${path} is damaged: restore it from a backup, or move it away to begin anew (PRAGMA ${pragma}: ${found[0]?.replaceAll('\n', ' ')})`,
    )
  }
  if (statSync(path).size <= wholeUpTo) {
    check('integrity_check(1)')
    return
  }
  const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all()
  for (const { name } of tables) if (lookedAt(String(name))) check(`quick_check(${JSON.stringify(String(name))})`)
}

/** All that is found wrong with a file, the first twenty; every index is compared with its table. @throws what SQLite throws where it cannot even look */
export const problemsOf = (database: DatabaseSync): readonly string[] =>
  database
    .prepare('PRAGMA integrity_check(20)')
    .all()
    .map((row) => String(Object.values(row)[0]).replaceAll('\n', ' '))
    .filter((found) => found !== 'ok')
