import { type ChildProcess, fork } from 'node:child_process'
import { extname } from 'node:path'
import { systemCode } from '../core/system-code.ts'
import { type ParsedFile, parseFile, unreadable } from './document.ts'
import { type Packed, unpack } from './packed.ts'
import type { Turns } from './turns.ts'

/** So much YAML of a policy takes a few milliseconds, which is less than a process does; in bytes. */
const smallBytes = 16 * 1024
/** No file takes longer, in milliseconds. */
const longestMs = 30_000
/** Heap of the process, in MiB; 4 MiB of ordinary routes take two thirds of it. */
const heapMiB = 1024

/** What the process is asked. */
export interface Asked {
  readonly file: string
  readonly bytes: Uint8Array
}

/** What it answers. */
export type Answer = Omit<ParsedFile, 'data'> & { readonly packed: Packed }

/** Whatever parses files. */
export interface FileParser {
  /** One file after the other. Never rejects: that the parser failed is a fault of the file. */
  readonly parse: (file: string, bytes: Uint8Array) => Promise<ParsedFile>
  readonly close: () => Promise<void>
}

/** Parses in this process: for commands, which have nothing else to do. */
export const parserHere: FileParser = { parse: async (file, bytes) => parseFile(file, bytes), close: async () => {} }

export interface ParserLimits {
  readonly smallBytes?: number
  readonly longestMs?: number
  readonly heapMiB?: number
}

/**
 * Parses all but a small policy in a process of its own, which starts when needed and ends when closed: the tree of a large YAML
 * file takes a second, and two hundred times the file's size in memory. Nothing but the end of a process gives that
 * back: what a thread had, V8 keeps in a pool for the next one. What comes back is plain data.
 */
export function openParser(turns: Turns, limits: ParserLimits = {}): FileParser {
  const most = { smallBytes, longestMs, heapMiB, ...limits }
  let parsedHere = 0
  let child: ChildProcess | undefined
  let waiting: (answer: Answer | string) => void = () => {}

  const start = (): ChildProcess => {
    const made = fork(new URL(`./document-child${extname(import.meta.url)}`, import.meta.url), [], {
      serialization: 'advanced',
      // A small young generation, as nearly all that is made here stays; no flags of this process, and no secrets.
      execArgv: [`--max-old-space-size=${most.heapMiB}`, '--max-semi-space-size=4'],
      env: {},
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    made.on('message', (answer) => waiting(answer as Answer))
    made.on('error', (cause) => waiting(`no process can be had that parses its YAML (${systemCode(cause)})`))
    made.on('exit', (code, signal) => {
      if (child === made) child = undefined
      // So V8 ends where its heap is full.
      const full = signal === 'SIGABRT' || signal === 'SIGTRAP' || code === 134
      waiting(full ? `its YAML needs more than ${most.heapMiB} MiB of memory` : `what parses its YAML has ended (${signal ?? code})`)
    })
    return made
  }

  const ask = (file: string, bytes: Uint8Array): Promise<Answer | string> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => waiting(`its YAML took longer than ${most.longestMs / 1000} s`), most.longestMs)
      waiting = (answer) => {
        clearTimeout(timer)
        waiting = () => {}
        resolve(answer)
      }
      child ??= start()
      const asked: Asked = { file, bytes }
      // Where it has ended, its exit says so.
      child.send(asked, () => {})
    })

  const close = async (): Promise<void> => {
    const ended = child
    child = undefined
    ended?.kill('SIGKILL')
  }

  return {
    parse: async (file, bytes) => {
      if (parsedHere + bytes.length <= most.smallBytes) {
        parsedHere += bytes.length
        if (turns.due) await turns.next()
        return parseFile(file, bytes)
      }
      const answer = await ask(file, bytes)
      if (typeof answer === 'string') {
        await close()
        return unreadable(file, `the file cannot be read: ${answer}: expected a smaller file, or several by include`)
      }
      const { packed, ...parsed } = answer
      return { ...parsed, data: await unpack(packed, turns) }
    },
    close,
  }
}
