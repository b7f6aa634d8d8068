import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed } from './io.ts'

/**
 * Writes what is for its owner alone.
 * @param force over a file that is there
 * @param makeFolder makes its folder too, for its owner alone, where there is none
 * @throws {CommandFailed}
 */
export function writePrivate(file: string, text: string, force: boolean, makeFolder = false): void {
  try {
    // What is there keeps its mode, however it is written over.
    if (force && existsSync(file)) chmodSync(file, 0o600)
    if (makeFolder) mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, text, { mode: 0o600, flag: force ? 'w' : 'wx' })
  } catch (cause) {
    const code = systemCode(cause)
    throw new CommandFailed(
      1,
      code === 'EEXIST' ? `${file} is there already: --force writes over it` : `${file}: cannot be written (${code})`,
    )
  }
}
