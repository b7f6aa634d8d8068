import { closeSync, constants, existsSync, fstatSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemCode } from '../core/system-code.ts'
import { refuseDamaged } from './sqlite-integrity.ts'
import { applicationId, schemaVersion, steps } from './sqlite-schema.ts'
import { StateRefused } from './state-refused.ts'

/** `sqlite3_errcode` without its extension (https://sqlite.org/rescode.html), or undefined for another error. */
export function sqliteCode(error: unknown): number | undefined {
  return error instanceof Error && 'errcode' in error && typeof error.errcode === 'number' ? error.errcode & 0xff : undefined
}

/** One folder after the other: `recursive` of Node tries for ever where a file system takes no new folder with ENOENT (/proc). */
export function makeFolder(folder: string): void {
  if (existsSync(folder)) return
  makeFolder(dirname(folder))
  try {
    mkdirSync(folder, { mode: 0o700 })
  } catch (error) {
    // Another process that starts at once was first.
    if (systemCode(error) !== 'EEXIST') throw error
  }
}

/** Makes the file with mode 0600 before SQLite does with whatever the umask says; its -wal and -shm inherit the mode. */
function makePrivate(path: string): void {
  let descriptor: number | undefined
  try {
    makeFolder(dirname(path))
    descriptor = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600)
    const mode = fstatSync(descriptor).mode & 0o777
    if ((mode & 0o077) !== 0)
      throw new StateRefused(`state file ${path} has mode 0${mode.toString(8)}: expected 0600, for it holds signing keys (chmod 600 it)`)
  } catch (error) {
    if (error instanceof StateRefused) throw error
    throw new StateRefused(
      `state file ${path} cannot be opened for writing (${systemCode(error)}): expected a file or folder that this user may write`,
    )
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}

/** What SQLite threw, as a sentence. */
export function refusal(path: string, error: unknown): StateRefused {
  const code = sqliteCode(error)
  if (code === 11 || code === 26)
    return new StateRefused(`state file ${path} is damaged or no SQLite database: restore it from a backup, or move it away to begin anew`)
  if (code === 5 || code === 6) return new StateRefused(`state file ${path} is locked by another process that does not let go of it`)
  if (code === 8)
    return new StateRefused(`state file ${path} is read-only: expected a file, a folder and a file system that can be written`)
  if (code === 13) return new StateRefused(`state file ${path} cannot be written: the disk is full`)
  if (code === 10)
    return new StateRefused(`state file ${path} cannot be read or written: expected a disk that works and has room, for -wal and -shm too`)
  if (code === 14)
    return new StateRefused(`state file ${path}: expected a folder in which this user may make files, for -wal and -shm stand beside it`)
  return new StateRefused(`state file ${path} cannot be used (SQLite ${code ?? systemCode(error)})`)
}

const pragma = (database: DatabaseSync, text: string, name = text): unknown => database.prepare(`PRAGMA ${text}`).get()?.[name]

/** @returns the version of a file that is ours, or is new @throws {StateRefused} for any other */
function versionOf(database: DatabaseSync, path: string): number {
  const version = pragma(database, 'user_version')
  const application = pragma(database, 'application_id')
  const tables = database.prepare('SELECT count(*) AS count FROM sqlite_schema').get()?.['count']
  if (application !== applicationId && (tables !== 0 || application !== 0))
    throw new StateRefused(`state file ${path} is a database of something else: name a file of our own`)
  if (typeof version !== 'number' || version > schemaVersion)
    throw new StateRefused(
      `state file ${path} has schema version ${version}, and this program knows ${schemaVersion}: run the newer program that wrote it`,
    )
  return version
}

function migrate(database: DatabaseSync, path: string): void {
  // Immediate: of several processes that start at once, one makes the tables and the others find them.
  database.exec('BEGIN IMMEDIATE')
  try {
    const version = versionOf(database, path)
    for (const step of steps.slice(version)) database.exec(step)
    if (version < schemaVersion) database.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion};`)
    database.exec('COMMIT')
  } catch (error) {
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

/**
 * Opens the database, and makes its tables where it is new.
 * @param timeout milliseconds to wait for another writer (`busy_timeout`)
 * @param looked whether somebody has looked already at whether the file is damaged
 * @throws {StateRefused} for a file that cannot be written, is read by others, damaged, foreign or of a newer schema
 */
export function openDatabase(path: string, timeout: number, looked = false): DatabaseSync {
  makePrivate(path)
  let database: DatabaseSync | undefined
  try {
    // Setting up may wait for another process that does the same; what runs later waits only `timeout`.
    database = new DatabaseSync(path, { timeout: 5000 })
    // Before anything is written: a file that is refused stays as it is.
    versionOf(database, path)
    if (!looked) refuseDamaged(database, path)
    if (pragma(database, 'journal_mode = WAL', 'journal_mode') !== 'wal')
      throw new StateRefused(
        `state file ${path} cannot be used in WAL mode: expected a local disk, for a network file system has no memory to share`,
      )
    // In WAL, FULL syncs each commit: what was acknowledged survives a loss of power.
    database.exec('PRAGMA synchronous = FULL')
    migrate(database, path)
    database.exec(`PRAGMA busy_timeout = ${timeout}`)
    return database
  } catch (error) {
    database?.close()
    throw error instanceof StateRefused ? error : refusal(path, error)
  }
}

/**
 * Opens a state file to be looked at: it is neither made nor brought forward, and nothing is written to it.
 * @returns what its `PRAGMA user_version` says beside it
 * @throws {StateRefused} for a file that is not there, cannot be read, is foreign or of a newer schema
 */
export function openToRead(path: string): { readonly database: DatabaseSync; readonly version: number } {
  let database: DatabaseSync | undefined
  try {
    // SQLite says of both no more than that it cannot open them.
    if (!existsSync(path)) throw new StateRefused(`there is no state file ${path}`)
    if (!statSync(path).isFile()) throw new StateRefused(`state file ${path} is no file`)
    database = new DatabaseSync(path, { readOnly: true, timeout: 5000 })
    const version = versionOf(database, path)
    if (version === 0) throw new StateRefused(`state file ${path} is empty: nothing was written to it yet`)
    return { database, version }
  } catch (error) {
    database?.close()
    throw error instanceof StateRefused ? error : refusal(path, error)
  }
}

/** The file that a path leads to now: whether it still does. */
export function sameFile(path: string): () => boolean {
  const opened = statSync(path)
  return () => {
    try {
      const { dev, ino } = statSync(path)
      return dev === opened.dev && ino === opened.ino
    } catch {
      return false
    }
  }
}
