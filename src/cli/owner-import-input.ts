import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { createReadStream, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { systemCode } from '../core/system-code.ts'
import { CommandFailed } from './io.ts'

/** Bytes from the beginning of a file by which it is known again. */
const headBytes = 64 * 1024
/** Bytes of the longest line: more than a record of all that the service takes. */
const longestLine = 64 * 1024
const newline = 0x0a

/** What tells one input from another. */
export interface InputIdentity {
  /** SHA-256 of its beginning, hexadecimal. */
  readonly head: string
  /** Bytes, and milliseconds since the epoch of the last change; null for standard input. */
  readonly size: number | null
  readonly modified: number | null
}

export interface Input {
  readonly identity: InputIdentity
  /** Its bytes from a place on. */
  readonly from: (offset: number) => AsyncIterable<Buffer>
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')

/** Opens a file, or standard input (`-`). @throws {CommandFailed} */
export async function openInput(file: string): Promise<Input> {
  if (file === '-') return await standardInput()
  try {
    const { size, mtimeMs } = statSync(file)
    const handle = await open(file)
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(headBytes), 0, headBytes, 0).finally(() => handle.close())
    return {
      identity: { head: sha256(buffer.subarray(0, bytesRead)), size, modified: Math.floor(mtimeMs) },
      // What is added to the file meanwhile is not of this run.
      from: (start) => (start >= size ? nothing() : createReadStream(file, { start, end: size - 1, highWaterMark: 256 * 1024 })),
    }
  } catch (cause) {
    throw new CommandFailed(2, `${file}: cannot be read (${systemCode(cause)})`)
  }
}

async function* nothing(): AsyncGenerator<Buffer> {}

async function standardInput(): Promise<Input> {
  const parts = (process.stdin as AsyncIterable<Buffer>)[Symbol.asyncIterator]()
  const begun: Buffer[] = []
  let size = 0
  while (size < headBytes) {
    const { value, done } = await parts.next()
    if (done) break
    begun.push(value)
    size += value.length
  }
  const head = Buffer.concat(begun)
  return {
    identity: { head: sha256(head.subarray(0, headBytes)), size: null, modified: null },
    from: async function* (offset) {
      let left = offset
      const rest = { [Symbol.asyncIterator]: () => parts }
      for await (const part of concat([head], rest)) {
        if (part.length > left) yield part.subarray(left)
        left = Math.max(0, left - part.length)
      }
    },
  }
}

async function* concat(first: readonly Buffer[], then: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* first
  yield* then
}

/** A line of the input. */
export interface InputLine {
  /** From 1 on. */
  readonly line: number
  /** Where the next one begins, in bytes from the beginning of the input. */
  readonly end: number
  /** Without its end; undefined where it is too long, or no UTF-8. */
  readonly text: string | undefined
}

/**
 * Lines of an input, held one part of it at a time.
 * @param offset bytes before the first line, and `line` lines
 */
export async function* inputLines(input: AsyncIterable<Buffer>, offset: number, line: number): AsyncGenerator<InputLine> {
  let [end, number] = [offset, line]
  let rest: Buffer[] = []
  let length = 0
  const keep = (part: Buffer): void => {
    length += part.length
    // Of one that is too long, only its length is kept.
    if (length <= longestLine) rest.push(part)
    else rest = []
  }
  const take = (more: number): InputLine => {
    const bytes = rest.length === 1 ? rest[0]! : Buffer.concat(rest)
    const fits = length <= longestLine && isUtf8(bytes)
    end += length + more
    number++
    rest = []
    length = 0
    return { line: number, end, text: fits ? bytes.toString() : undefined }
  }
  for await (const part of input) {
    let from = 0
    for (let at = part.indexOf(newline); at >= 0; at = part.indexOf(newline, from)) {
      keep(part.subarray(from, at))
      from = at + 1
      yield take(1)
    }
    if (from < part.length) keep(part.subarray(from))
  }
  if (length > 0) yield take(0)
}
