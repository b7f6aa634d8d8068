import { openSync, rmSync, statSync } from 'node:fs'
import { CommandFailed } from './io.ts'

/**
 * Looks at where a file is to be made: a device such as /dev/null, or a folder, would be replaced by it.
 * @throws {CommandFailed}
 */
export function expectFile(file: string): void {
  let isFile: boolean | undefined
  try {
    isFile = statSync(file, { throwIfNoEntry: false })?.isFile()
  } catch {
    // Why it cannot be reached is told where it is opened.
  }
  if (isFile === false) throw new CommandFailed(2, `${file}: expected a file, or none; this is a device or a folder`)
}

/**
 * Opens a file that is made here, for its owner alone. What stands there goes first, and nothing that is put there meanwhile is
 * written to: in a folder of many it could be a link to another file, or a file of somebody else's.
 * @returns a descriptor for writing
 * @throws as node:fs does
 */
export function openNew(file: string): number {
  rmSync(file, { force: true })
  return openSync(file, 'wx', 0o600)
}
