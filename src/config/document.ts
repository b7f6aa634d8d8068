import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import type { Aim, Fault, Path } from './faults.ts'

/** No policy file is larger, in bytes. */
const maxFileBytes = 1024 * 1024

/** One YAML file, read: its data, what is wrong with its YAML, and where everything stands. */
export interface SourceFile {
  readonly file: string
  /** Plain data with nothing shared between anchors and aliases; undefined where the file is no YAML at all. */
  readonly data: unknown
  readonly faults: readonly Fault[]
  /** The line from which on the file is no YAML: what stands there and below was guessed, and so was what is missing. */
  readonly brokenAt: number | undefined
  /** The place of a setting; of what is not there, the nearest thing around it that is. */
  readonly locate: (path: Path, aim?: Aim) => { readonly line: number; readonly column: number }
}

/**
 * Reads one YAML 1.2 file.
 * @param file the name that faults show
 * @param bytes its content, UTF-8
 */
export function readDocument(file: string, bytes: Uint8Array): SourceFile {
  const whole = (message: string): SourceFile => {
    const place = { line: 1, column: 1 }
    return { file, data: undefined, faults: [{ file, ...place, path: '', message }], brokenAt: 1, locate: () => place }
  }
  if (bytes.length > maxFileBytes) return whole(`the file has ${bytes.length} bytes: expected at most ${maxFileBytes} (1 MiB)`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return whole('the file is not UTF-8: save it in this encoding')
  }
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true, strict: true })
  const place = (offset: number): { line: number; column: number } => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const faults: Fault[] = [...document.errors, ...document.warnings].map((error) => ({
    file,
    ...place(error.pos[0]),
    path: '',
    message:
      error.code === 'DUPLICATE_KEY'
        ? 'this key occurs twice in one mapping: expected each key once'
        : `not YAML: ${sentence(error.message)}${advice[error.code] ?? ''}`,
  }))
  const broken = document.errors.filter(({ code }) => code !== 'DUPLICATE_KEY').map(({ pos }) => place(pos[0]).line)
  let data: unknown
  try {
    data = unshare(document.toJS({ maxAliasCount: 100 }))
  } catch (error) {
    faults.push({
      file,
      line: 1,
      column: 1,
      path: '',
      message: `not YAML: ${sentence(String(error instanceof Error ? error.message : error))}`,
    })
  }
  return {
    file,
    data,
    faults,
    brokenAt: broken.length === 0 ? undefined : Math.min(...broken),
    locate: (path, aim) => locate(document, text, place, path, aim),
  }
}

/** What to do about errors whose own sentence does not say it, by the code of the `yaml` package. */
const advice: Readonly<Record<string, string>> = {
  BLOCK_AS_IMPLICIT_KEY: ': put a value that ends in ":", or holds ": ", in quotes',
  TAB_AS_INDENT: ': indent by spaces',
}

const sentence = (message: string): string => (message.split('\n')[0] ?? '').trim()

/** Aliases give one object in several places; overrides and repairs change places one by one. */
function unshare(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(unshare)
  if (typeof value !== 'object' || value === null) return value
  const copy: Record<string, unknown> = {}
  for (const [key, member] of Object.entries(value))
    Object.defineProperty(copy, key, { value: unshare(member), enumerable: true, writable: true, configurable: true })
  return copy
}

type Place = { readonly line: number; readonly column: number }

function locate(document: Document.Parsed, text: string, place: (offset: number) => Place, path: Path, aim: Aim = {}): Place {
  const follow = (node: unknown): Node | null | undefined => (isAlias(node) ? node.resolve(document) : (node as Node | null | undefined))
  let node: unknown = document.contents
  let start = startOf(node) ?? 0
  for (const [depth, step] of path.entries()) {
    const at = follow(node)
    let next: unknown
    if (isMap(at)) {
      const pair = at.items.find((item) => isScalar(item.key) && String(item.key.value) === String(step)) as Pair | undefined
      if (!pair) return place(start)
      const keyStart = startOf(pair.key) ?? start
      if (depth === path.length - 1 && aim.at === 'key') return place(keyStart)
      next = pair.value
      start = startOf(next) ?? keyStart
    } else if (isSeq(at) && typeof step === 'number' && step < at.items.length) {
      next = at.items[step]
      start = startOf(next) ?? start
    } else return place(start)
    node = next
  }
  if (aim.offset !== undefined) return inside(follow(node), text, place, aim.offset) ?? place(start)
  return place(start)
}

function startOf(node: unknown): number | undefined {
  const range = (node as { range?: readonly number[] } | null | undefined)?.range
  return range?.[0]
}

/** The place of an offset in a text value, where the value stands in the file as it is. */
function inside(node: unknown, text: string, place: (offset: number) => Place, offset: number): Place | undefined {
  if (!isScalar(node) || typeof node.value !== 'string' || !node.range) return undefined
  const value = node.value
  const [start, end] = node.range
  if (node.type === 'BLOCK_LITERAL') {
    const header = place(start)
    const body = text.slice(text.indexOf('\n', start) + 1, end)
    const indent = /^(?:[ \t]*\n)*( *)/.exec(body)?.[1]?.length ?? 0
    const before = value.slice(0, offset).split('\n')
    return { line: header.line + before.length, column: indent + (before.at(-1)?.length ?? 0) + 1 }
  }
  const quote = node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE' ? 1 : 0
  return text.startsWith(value, start + quote) ? place(start + quote + offset) : undefined
}
