import { type Place, placeOf } from '../positions.ts'

/** A text that settings were read from: a file, or a text inside one. */
export interface Source {
  readonly file: string
  /** Line and column of an offset, both from 1. */
  readonly place: (offset: number) => Place
}

export type Scalar = string | number | boolean | null

/** One value of a configuration with its place. Offsets are UTF-16 units of its source's text. */
export interface Node {
  readonly source: Source
  readonly start: number
  /** Offset of its key, where it stands in a mapping; else -1. */
  readonly key: number
  readonly value: Scalar | readonly Node[] | ReadonlyMap<string, Node>
  /** By how many spaces the lines of a block text (`|`) are indented. */
  readonly indent?: number | undefined
}

/** Where a text's line breaks put its offsets. */
export function sourceOf(file: string, text: string): Source {
  const lines = [0]
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) lines.push(at + 1)
  return { file, place: (offset) => placeOf(lines, offset) }
}

/** The text that a node holds, as a source of its own: a ConfigMap holds whole files. */
export function sourceInside(node: Node, text: string): Source {
  const header = node.source.place(node.start)
  const inner = sourceOf(node.source.file, text)
  const { indent } = node
  if (indent === undefined) return { file: node.source.file, place: () => header }
  return {
    file: node.source.file,
    place: (offset) => {
      const { line, column } = inner.place(offset)
      return { line: header.line + line, column: column + indent }
    },
  }
}

/** Nothing that is read here is nested deeper. */
export const maxDepth = 200

/** A text that is no configuration: what is wrong, and where. */
export class NotReadable extends Error {
  override readonly name: string = 'NotReadable'
  readonly offset: number

  constructor(message: string, offset: number) {
    super(message)
    this.offset = offset
  }
}

/** A text that is nested too deeply, in whatever language it is. */
export class TooDeep extends NotReadable {
  override readonly name = 'TooDeep'

  constructor(offset: number) {
    super(`nested deeper than ${maxDepth} levels`, offset)
  }
}
