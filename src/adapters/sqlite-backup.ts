import { randomBytes } from 'node:crypto'
import { closeSync, constants, existsSync, fsyncSync, linkSync, openSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { systemCode } from '../core/system-code.ts'
import { openToRead, refusal, sameFile } from './sqlite-file.ts'
import { problemsOf } from './sqlite-integrity.ts'
import { StateRefused } from './state-refused.ts'

/** A backup that was made. */
export interface MadeBackup {
  readonly bytes: number
  /** Schema version. */
  readonly version: number
}

/**
 * All pages in one step, which is one moment of the file: writers go on beside it. In several steps a file that another process
 * writes to would be begun anew after each write, without end.
 */
const allPages = 0x7fffffff

/** What SQLite may have left beside a file. */
const companions = ['-journal', '-wal', '-shm'] as const

function sync(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY)
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

/** @throws {StateRefused} where a backup must not stand at `to` */
function refusePlace(path: string, to: string, force: boolean): void {
  const own = realpathSync(path)
  const named = join(realpathSync(dirname(to)), basename(to))
  // Whoever has the state file open has these open too, or will make them.
  if (companions.some((end) => named === `${own}${end}`))
    throw new StateRefused(`${to} belongs to the state file itself: name another file for the backup`)
  if (existsSync(to)) {
    const { dev, ino } = statSync(path)
    const there = statSync(to)
    if (there.dev === dev && there.ino === ino) throw new StateRefused(`${to} is the state file itself: name another file for the backup`)
    if (!there.isFile()) throw new StateRefused(`${to} is no file: name a file for the backup`)
    if (!force) throw new StateRefused(`${to} exists already: name another file for the backup, or replace it by --force`)
  }
  // What is found there would be taken for a part of the new file, and ruin it.
  const beside = companions.map((end) => `${to}${end}`).find(existsSync)
  if (beside !== undefined)
    throw new StateRefused(`${beside} belongs to a database that is open, or was not closed: name another file for the backup`)
}

/** Puts the finished file in its place. */
function place(made: string, to: string, force: boolean): void {
  if (force) renameSync(made, to)
  else {
    // As a rename that replaces nothing.
    linkSync(made, to)
    rmSync(made)
  }
  sync(dirname(to))
}

/**
 * Copies a state file, while services write to it: what was acknowledged before the call is in the copy. The copy is one
 * file, 0600, looked through before it stands under its name.
 * @param force whether a file may be replaced
 * @throws {StateRefused} where there is no such copy now; then nothing has changed
 */
export async function backUp(path: string, to: string, force: boolean): Promise<MadeBackup> {
  const target = resolve(to)
  const made = `${target}.${randomBytes(6).toString('hex')}.tmp`
  const { database: source, version } = openToRead(path)
  try {
    refusePlace(path, target, force)
    closeSync(openSync(made, 'wx', 0o600))
    const isThere = sameFile(path)
    try {
      await backup(source, made, { rate: allPages })
    } catch (error) {
      throw refusal(path, error)
    }
    if (!isThere()) throw new StateRefused(`state file ${path} was replaced while it was copied: try again`)
    const copy = new DatabaseSync(made)
    try {
      const [problem] = problemsOf(copy)
      if (problem !== undefined) throw new StateRefused(`state file ${path} is damaged, and so would be its backup: ${problem}`)
      // One file from now on, that can be read where nothing can be written. Whoever opens it as state sets WAL again.
      copy.exec('PRAGMA journal_mode = DELETE')
    } finally {
      copy.close()
    }
    sync(made)
    const { size } = statSync(made)
    place(made, target, force)
    return { bytes: size, version }
  } catch (error) {
    if (error instanceof StateRefused) throw error
    const code = systemCode(error)
    throw new StateRefused(
      code === 'EEXIST'
        ? `${to} exists already: name another file for the backup, or replace it by --force`
        : `${to} cannot be written (${code}): expected a folder in which this user may make files, with room for the backup`,
    )
  } finally {
    source.close()
    for (const end of ['', ...companions]) rmSync(`${made}${end}`, { force: true })
  }
}
