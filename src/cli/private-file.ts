import { chmodSync, existsSync, writeFileSync } from 'node:fs'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed } from './io.ts'

/**
 * Writes what is for its owner alone.
 * @param force over a file that is there
 * @throws {CommandFailed}
 */
export function writePrivate(file: string, text: string, force: boolean): void {
  try {
    // What is there keeps its mode, however it is written over.
    if (force && existsSync(file)) chmodSync(file, 0o600)
    writeFileSync(file, text, { mode: 0o600, flag: force ? 'w' : 'wx' })
  } catch (cause) {
    const code = systemCode(cause)
    throw new CommandFailed(
      1,
      code === 'EEXIST' ? `${file} is there already: --force writes over it` : `${file}: cannot be written (${code})`,
    )
  }
}
