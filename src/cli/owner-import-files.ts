import { closeSync, existsSync, ftruncateSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { z } from 'zod'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed } from './io.ts'
import { expectFile, openNew } from './new-file.ts'
import type { InputIdentity } from './owner-import-input.ts'

const count = z.int().min(0)
const stateSchema = z.strictObject({
  version: z.literal(1),
  head: z.string(),
  size: count.nullable(),
  modified: z.number().nullable(),
  mode: z.enum(['absent', 'replace']),
  offset: count,
  lines: count,
  written: count,
  kept: count,
  same: count,
  rejected: count,
  rejected_bytes: count,
})
type Stored = z.output<typeof stateSchema>

/** How far an import has come: all before `offset` has been acknowledged. */
export type ImportedSoFar = Omit<Stored, 'version' | 'head' | 'size' | 'modified' | 'mode'>

export const nothingYet: ImportedSoFar = { offset: 0, lines: 0, written: 0, kept: 0, same: 0, rejected: 0, rejected_bytes: 0 }

/** A line that was refused, as it stands in the file of those. */
export interface Rejected {
  readonly line: number
  readonly expected: string
  /** Absent where it is too long, or no UTF-8. */
  readonly text?: string
}

/** What an import leaves on disk, for its owner alone. */
export interface ImportFiles {
  readonly begun: ImportedSoFar
  /** Writes down lines that were refused, then how far it has come. @throws {CommandFailed} */
  readonly save: (soFar: Omit<ImportedSoFar, 'rejected_bytes'>, refused: readonly Rejected[]) => void
  /** All has come: there is nothing to go on with. */
  readonly done: () => void
}

export interface ImportFilesOptions {
  /** undefined: how far it has come is not kept. */
  readonly stateFile: string | undefined
  readonly rejectedFile: string
  readonly identity: InputIdentity
  readonly mode: 'absent' | 'replace'
  /** Forgets an import that was interrupted. */
  readonly restart: boolean
}

/** Finds what an interrupted import has left, and goes on from there. @throws {CommandFailed} where it was of another file */
export function openImportFiles({ stateFile, rejectedFile, identity, mode, restart }: ImportFilesOptions): ImportFiles {
  const failed = (file: string, cause: unknown) => new CommandFailed(1, `${file}: cannot be written (${systemCode(cause)})`)
  for (const file of [rejectedFile, ...(stateFile === undefined ? [] : [stateFile])]) expectFile(file)
  const begun = stateFile === undefined || restart ? nothingYet : readState(stateFile, { ...identity, mode })
  let bytes = begun.rejected_bytes
  let out: number | undefined

  const reject = (refused: readonly Rejected[]): void => {
    try {
      if (out === undefined) {
        // Lines that were refused after the last acknowledged batch come again.
        out = bytes > 0 && existsSync(rejectedFile) ? openSync(rejectedFile, 'r+') : openNew(rejectedFile)
        ftruncateSync(out, bytes)
      }
      for (const each of refused) bytes += writeSync(out, `${JSON.stringify(each)}\n`, bytes)
    } catch (cause) {
      throw failed(rejectedFile, cause)
    }
  }
  if (begun.rejected === 0) rmSync(rejectedFile, { force: true })
  return {
    begun,
    save: (soFar, refused) => {
      if (refused.length > 0) reject(refused)
      if (stateFile === undefined) return
      const stored: Stored = { version: 1, ...identity, mode, ...soFar, rejected_bytes: bytes }
      try {
        const next = openNew(`${stateFile}.new`)
        try {
          writeSync(next, `${JSON.stringify(stored)}\n`)
        } finally {
          closeSync(next)
        }
        renameSync(`${stateFile}.new`, stateFile)
      } catch (cause) {
        throw failed(stateFile, cause)
      }
    },
    done: () => {
      if (out !== undefined) closeSync(out)
      if (stateFile !== undefined) rmSync(stateFile, { force: true })
    },
  }
}

function readState(file: string, now: InputIdentity & { readonly mode: string }): ImportedSoFar {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if (systemCode(cause) === 'ENOENT') return nothingYet
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
  const read = stateSchema.safeParse(parsed(text))
  if (!read.success) throw new CommandFailed(2, `${file}: expected what an import has left there; --restart begins anew`)
  const { version: _, head, size, modified, mode, ...soFar } = read.data
  if (head !== now.head || size !== now.size || modified !== now.modified)
    throw new CommandFailed(
      2,
      `${file}: the import that was interrupted was of another file, or it has changed since; --restart begins anew`,
    )
  if (mode !== now.mode)
    throw new CommandFailed(
      2,
      `${file}: the import that was interrupted was made ${mode === 'replace' ? 'with' : 'without'} --replace; --restart begins anew`,
    )
  return soFar
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
