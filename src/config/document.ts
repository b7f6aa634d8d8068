import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Scalar } from 'yaml'
import type { Aim, Fault, Path } from './faults.ts'
import { type BlockText, field, fields, kind, Locator, type Place, type Positions, placeOf } from './positions.ts'

/** No policy file is larger, in bytes. */
const maxFileBytes = 4 * 1024 * 1024
/** Faults of a file's YAML that are told. */
const mostFaults = 100
/** Nothing in a policy file is nested deeper: what walks over its data may call itself for each level. */
const maxDepth = 64

/** One YAML file, read: plain data, which may come from another process. */
export interface ParsedFile {
  /** With nothing shared between anchors and aliases; undefined where the file is no YAML at all. */
  readonly data: unknown
  /** What is wrong with its YAML. */
  readonly faults: readonly Fault[]
  /** The line from which on the file is no YAML: what stands there and below was guessed, and so was what is missing. */
  readonly brokenAt: number | undefined
  /** Absent where nothing is known of the file but that it cannot be read. */
  readonly positions: Positions | undefined
}

/** A file with the places of its settings. */
export interface SourceFile extends Omit<ParsedFile, 'positions'> {
  readonly file: string
  /** The place of a setting; of what is not there, the nearest thing around it that is. */
  readonly locate: (path: Path, aim?: Aim) => Place
}

/** A file of which nothing can be said but one sentence. */
export const unreadable = (file: string, message: string): ParsedFile => ({
  data: undefined,
  faults: [{ file, line: 1, column: 1, path: '', message }],
  brokenAt: 1,
  positions: undefined,
})

/** @param file the name that faults show */
export function sourceFile(file: string, { positions, ...parsed }: ParsedFile): SourceFile {
  return { file, ...parsed, locate: positions ? new Locator(positions).locate : () => ({ line: 1, column: 1 }) }
}

/** Reads one YAML 1.2 file in this process: see {@link parseFile}. */
export const readDocument = (file: string, bytes: Uint8Array): SourceFile => sourceFile(file, parseFile(file, bytes))

/**
 * Reads one YAML 1.2 file.
 * @param file the name that faults show
 * @param bytes its content, UTF-8
 */
export function parseFile(file: string, bytes: Uint8Array): ParsedFile {
  if (bytes.length > maxFileBytes) return unreadable(file, `the file has ${bytes.length} bytes: expected at most ${maxFileBytes} (4 MiB)`)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return unreadable(file, 'the file is not UTF-8: save it in this encoding')
  }
  const counter = new LineCounter()
  const document = parseDocument(text, { lineCounter: counter, prettyErrors: false, uniqueKeys: true, strict: true, logLevel: 'error' })
  const lines = counter.lineStarts
  // One wrong character can make an error of every line that follows: nobody reads on, and all of them could not be held.
  const told = [...document.errors.slice(0, mostFaults), ...document.warnings.slice(0, mostFaults)].slice(0, mostFaults)
  const faults: Fault[] = told.map((error) => ({
    file,
    ...placeOf(lines, error.pos[0]),
    path: '',
    message:
      error.code === 'DUPLICATE_KEY'
        ? 'this key occurs twice in one mapping: expected each key once'
        : `not YAML: ${sentence(error.message)}${advice[error.code] ?? ''}`,
  }))
  const broken = document.errors.find(({ code }) => code !== 'DUPLICATE_KEY')
  const index = new Index(text)
  const tooDeep = index.add(document.contents, -1, -1, 0)
  const whole = (message: string, offset = 0): void => {
    faults.push({ file, ...placeOf(lines, offset), path: '', message })
  }
  let data: unknown
  if (tooDeep !== undefined) whole(`this is nested deeper than ${maxDepth} levels: no setting is`, tooDeep)
  else {
    try {
      data = unshare(document.toJS({ maxAliasCount: 100 }))
    } catch (error) {
      whole(`not YAML: ${sentence(String(error instanceof Error ? error.message : error))}`)
    }
  }
  return { data, faults, brokenAt: broken && placeOf(lines, broken.pos[0]).line, positions: index.positions(lines) }
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

/** Makes the positions of one file from its tree. */
class Index {
  readonly #text: string
  readonly #rows: number[] = []
  readonly #names = new Map<string, number>()
  readonly #blocks: BlockText[] = []
  /** Anchor → its row; an alias means the last one before it. */
  readonly #anchors = new Map<string, number>()

  constructor(text: string) {
    this.#text = text
  }

  positions = (lines: readonly number[]): Positions => ({
    lines: Int32Array.from(lines),
    rows: Int32Array.from(this.#rows),
    names: [...this.#names.keys()],
    blocks: this.#blocks,
  })

  /**
   * Adds a node, and what is in it.
   * @param key offset of its key, or -1
   * @param name number of its key, or -1
   * @returns the offset of what is nested too deep, where something is
   */
  add(node: unknown, key: number, name: number, depth: number): number | undefined {
    const start = startOf(node)
    const row = this.#rows.length / fields
    this.#rows.push(start, key, name, 0, kind.other, -1)
    const set = (is: number, detail: number): void => {
      this.#rows[row * fields + field.kind] = is
      this.#rows[row * fields + field.detail] = detail
    }
    const anchor = (node as { anchor?: string } | null | undefined)?.anchor
    if (anchor !== undefined) this.#anchors.set(anchor, row)
    // Nothing in it is looked at.
    let tooDeep = depth > maxDepth ? Math.max(start, key, 0) : undefined
    if (isMap(node)) {
      set(kind.map, -1)
      for (const pair of node.items) {
        const named = isScalar(pair.key) ? this.#nameOf(pair.key) : -1
        tooDeep ??= this.add(pair.value, startOf(pair.key), named, depth + 1)
      }
    } else if (isSeq(node)) {
      set(kind.list, -1)
      for (const item of node.items) tooDeep ??= this.add(item, -1, -1, depth + 1)
    } else if (isAlias(node)) set(kind.alias, this.#anchors.get(node.source) ?? row)
    else if (isScalar(node) && typeof node.value === 'string' && node.range) this.#addText(node, node.value, node.range, set)
    this.#rows[row * fields + field.end] = this.#rows.length / fields
    return tooDeep
  }

  #nameOf(key: Scalar): number {
    if (key.anchor !== undefined) this.#anchors.delete(key.anchor)
    const name = String(key.value)
    const known = this.#names.get(name)
    if (known !== undefined) return known
    this.#names.set(name, this.#names.size)
    return this.#names.size - 1
  }

  #addText(node: Scalar, value: string, [start, end]: readonly number[], set: (is: number, detail: number) => void): void {
    const text = this.#text
    if (node.type === 'BLOCK_LITERAL') {
      const body = text.slice(text.indexOf('\n', start) + 1, end)
      const indent = /^(?:[ \t]*\n)*( *)/.exec(body)?.[1]?.length ?? 0
      set(kind.block, this.#blocks.push({ value, indent }) - 1)
      return
    }
    const first = start! + (node.type === 'QUOTE_DOUBLE' || node.type === 'QUOTE_SINGLE' ? 1 : 0)
    if (text.startsWith(value, first)) set(kind.text, first)
  }
}

const startOf = (node: unknown): number => (node as { range?: readonly number[] } | null | undefined)?.range?.[0] ?? -1
