import { maxDepth, type Node, NotReadable, type Source, TooDeep } from './node.ts'

/**
 * Reads JSON with the place of every value. Config dumps have megabytes: this takes the time of reading them, where a YAML reader
 * takes minutes.
 * @throws {NotReadable} where it is not JSON
 */
export function readJson(text: string, source: Source): Node {
  const reader = new Reader(text, source)
  const node = reader.value(-1, 0)
  reader.end()
  return node
}

const blank = /[ \t\r\n]*/y
const word = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null/y
const quoted = /"[^"\\]*(?:\\.[^"\\]*)*"/y

class Reader {
  readonly #text: string
  readonly #source: Source
  #at = 0

  constructor(text: string, source: Source) {
    this.#text = text
    this.#source = source
  }

  value(key: number, depth: number): Node {
    this.#skip()
    const start = this.#at
    if (depth > maxDepth) throw new TooDeep(start)
    const first = this.#text[start]
    const value =
      first === '{'
        ? this.#map(depth)
        : first === '['
          ? this.#list(depth)
          : first === '"'
            ? this.#textValue()
            : JSON.parse(this.#take(word))
    return { source: this.#source, start, key, value }
  }

  end(): void {
    this.#skip()
    if (this.#at < this.#text.length) throw new NotReadable('expected the end of the JSON', this.#at)
  }

  #map(depth: number): ReadonlyMap<string, Node> {
    const members = new Map<string, Node>()
    this.#at++
    if (this.#closes('}')) return members
    for (;;) {
      this.#skip()
      const key = this.#at
      const name = this.#textValue()
      this.#skip()
      if (this.#text[this.#at++] !== ':') throw new NotReadable('expected ":"', this.#at - 1)
      members.set(name, this.value(key, depth + 1))
      if (this.#closes('}')) return members
      this.#comma()
    }
  }

  #list(depth: number): readonly Node[] {
    const items: Node[] = []
    this.#at++
    if (this.#closes(']')) return items
    for (;;) {
      items.push(this.value(-1, depth + 1))
      if (this.#closes(']')) return items
      this.#comma()
    }
  }

  #closes(mark: string): boolean {
    this.#skip()
    if (this.#text[this.#at] !== mark) return false
    this.#at++
    return true
  }

  #comma(): void {
    this.#skip()
    if (this.#text[this.#at++] !== ',') throw new NotReadable('expected ","', this.#at - 1)
  }

  #textValue(): string {
    const at = this.#at
    const taken = this.#take(quoted)
    try {
      return JSON.parse(taken) as string
    } catch {
      throw new NotReadable('expected a text as JSON writes it', at)
    }
  }

  #skip(): void {
    blank.lastIndex = this.#at
    blank.test(this.#text)
    this.#at = blank.lastIndex
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.#text)?.[0]
    if (found === undefined) throw new NotReadable('expected a JSON value', this.#at)
    this.#at += found.length
    return found
  }
}
