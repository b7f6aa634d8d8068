import type { Aim, Path } from './faults.ts'

export interface Place {
  readonly line: number
  readonly column: number
}

/** A block text (`|`): its value, and by how many spaces its lines are indented in the file. */
export interface BlockText {
  readonly value: string
  readonly indent: number
}

/**
 * Where everything of a YAML file stands, as numbers: a fraction of the size of the YAML's tree, plain data that
 * passes between processes, and asked without waiting.
 */
export interface Positions {
  /** Offsets at which lines begin, ascending. */
  readonly lines: Int32Array
  /** One row of {@link field} numbers a node, a node before what is in it. */
  readonly rows: Int32Array
  /** Keys of mappings, each once. */
  readonly names: readonly string[]
  readonly blocks: readonly BlockText[]
}

/** What the numbers of a row are. Offsets are UTF-16 units of the file's text; -1 stands for none. */
export const field = {
  /** Offset of the node. */
  start: 0,
  /** Offset of its key, where it stands in a mapping. */
  key: 1,
  /** Index of its key in the names. */
  name: 2,
  /** The first row that is not in it. */
  end: 3,
  /** One of {@link kind}. */
  kind: 4,
  /** What it says depends on the kind. */
  detail: 5,
} as const
export const fields = 6

export const kind = {
  other: 0,
  map: 1,
  list: 2,
  /** A text that stands in the file as it is; the detail is the offset of its first character. */
  text: 3,
  /** A block text; the detail is its index. */
  block: 4,
  /** The detail is the row that is meant. */
  alias: 5,
} as const

/** Line and column of an offset, both from 1. */
export function placeOf(lines: ArrayLike<number>, offset: number): Place {
  let low = 0
  let high = lines.length
  while (low < high) {
    const middle = (low + high) >> 1
    if (lines[middle]! <= offset) low = middle + 1
    else high = middle
  }
  return low === 0 ? { line: 1, column: Math.max(offset, 1) } : { line: low, column: offset - lines[low - 1]! + 1 }
}

/** Finds the places of settings in one file; of what is not there, of the nearest thing around it that is. */
export class Locator {
  readonly #positions: Positions
  /** List → the rows of its entries: asked for again and again, for each route. */
  readonly #entries = new Map<number, readonly number[]>()

  constructor(positions: Positions) {
    this.#positions = positions
  }

  readonly locate = (path: Path, aim: Aim = {}): Place => {
    const { names } = this.#positions
    let row = 0
    let start = Math.max(this.#get(row, 'start'), 0)
    for (const [depth, step] of path.entries()) {
      const holder = this.#meant(row)
      const is = this.#get(holder, 'kind')
      if (is === kind.map) {
        const child = this.#member(holder, names.indexOf(String(step)))
        if (child === undefined) return this.#place(start)
        const key = this.#get(child, 'key')
        if (key >= 0) start = key
        if (depth === path.length - 1 && aim.at === 'key') return this.#place(start)
        row = child
      } else {
        const child = is === kind.list && typeof step === 'number' ? this.#entriesOf(holder)[step] : undefined
        if (child === undefined) return this.#place(start)
        row = child
      }
      const at = this.#get(row, 'start')
      if (at >= 0) start = at
    }
    return (aim.offset === undefined ? undefined : this.#inside(this.#meant(row), aim.offset)) ?? this.#place(start)
  }

  #get(row: number, name: keyof typeof field): number {
    return this.#positions.rows[row * fields + field[name]] ?? -1
  }

  #place(offset: number): Place {
    return placeOf(this.#positions.lines, offset)
  }

  /** An alias means another node, never one that is an alias itself. */
  #meant(row: number): number {
    return this.#get(row, 'kind') === kind.alias ? this.#get(row, 'detail') : row
  }

  #member(map: number, name: number): number | undefined {
    if (name < 0) return undefined
    const end = this.#get(map, 'end')
    for (let row = map + 1; row < end; row = this.#get(row, 'end')) if (this.#get(row, 'name') === name) return row
    return undefined
  }

  #entriesOf(list: number): readonly number[] {
    const known = this.#entries.get(list)
    if (known) return known
    const rows: number[] = []
    const end = this.#get(list, 'end')
    for (let row = list + 1; row < end; row = this.#get(row, 'end')) rows.push(row)
    this.#entries.set(list, rows)
    return rows
  }

  /** The place of an offset in a text value, where the value stands in the file as it is. */
  #inside(row: number, offset: number): Place | undefined {
    const is = this.#get(row, 'kind')
    const detail = this.#get(row, 'detail')
    if (is === kind.text) return this.#place(detail + offset)
    const block = is === kind.block ? this.#positions.blocks[detail] : undefined
    if (!block) return undefined
    const header = this.#place(this.#get(row, 'start'))
    const before = block.value.slice(0, offset).split('\n')
    return { line: header.line + before.length, column: block.indent + (before.at(-1)?.length ?? 0) + 1 }
  }
}
