import type { Path, Step } from '../faults.ts'
import { pathText } from '../faults.ts'
import type { Place } from '../positions.ts'
import type { Node } from './node.ts'

/**
 * One setting of a configuration, there or not: what is asked of an absent one is undefined, and its place is that of the nearest
 * thing around it.
 */
export class Setting {
  readonly path: Path
  readonly #node: Node | undefined
  readonly #near: Node

  constructor(node: Node | undefined, path: Path, near: Node) {
    this.#node = node
    this.path = path
    this.#near = node ?? near
  }

  static root = (node: Node): Setting => new Setting(node, [], node)

  /** The settings that a text holds, under the path of that text. */
  static under = (node: Node, path: Path): Setting => new Setting(node, path, node)

  /** Further down. A name in `snake_case` also finds `snakeCase`: protobuf's JSON may be written in both ways. */
  at(...steps: readonly Step[]): Setting {
    let found: Setting = this
    for (const step of steps) found = found.#step(step)
    return found
  }

  #step(step: Step): Setting {
    const value = this.#node?.value
    if (typeof step === 'number') {
      const item = Array.isArray(value) ? (value as readonly Node[])[step] : undefined
      return new Setting(item, [...this.path, step], this.#near)
    }
    if (!(value instanceof Map)) return new Setting(undefined, [...this.path, step], this.#near)
    const members = value as ReadonlyMap<string, Node>
    const name = members.has(step) ? step : otherName(step, members)
    const member = members.get(name)
    return new Setting(member?.value === null ? undefined : member, [...this.path, name], this.#near)
  }

  get present(): boolean {
    return this.#node !== undefined && this.#node.value !== null
  }

  get text(): string | undefined {
    const value = this.#node?.value
    return typeof value === 'string' ? value : undefined
  }

  /** A number, also one that protobuf's JSON writes as a text. */
  get number(): number | undefined {
    const value = this.#node?.value
    if (typeof value === 'number') return value
    return typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : undefined
  }

  get boolean(): boolean | undefined {
    const value = this.#node?.value
    return typeof value === 'boolean' ? value : undefined
  }

  /** True where it says `true`; absent, as nearly everywhere in Envoy, is false. */
  get on(): boolean {
    return this.boolean === true
  }

  get isMap(): boolean {
    return this.#node?.value instanceof Map
  }

  get isList(): boolean {
    return Array.isArray(this.#node?.value)
  }

  /** The entries of a list; of anything else none. */
  get items(): Setting[] {
    const value = this.#node?.value
    return Array.isArray(value) ? value.map((_, i) => this.at(i)) : []
  }

  /** The texts of a list; a single text stands for a list of one. */
  get texts(): string[] {
    const { text } = this
    return text === undefined ? this.items.flatMap((item) => item.text ?? []) : [text]
  }

  /** The members of a mapping. */
  get members(): (readonly [name: string, setting: Setting])[] {
    const value = this.#node?.value
    if (!(value instanceof Map)) return []
    return [...(value as ReadonlyMap<string, Node>).keys()].map((name) => [name, this.#step(name)])
  }

  /** As it is shown in a sentence: a scalar as it is written, anything else by what it is. */
  get shown(): string {
    const value = this.#node?.value
    if (value === undefined || value === null) return 'not set'
    return typeof value === 'object' ? 'set' : String(value)
  }

  get name(): string {
    return String(this.path.at(-1) ?? '')
  }

  get pathText(): string {
    return pathText(this.path)
  }

  get node(): Node | undefined {
    return this.#node
  }

  /** Of its key, or of itself where it has none; where it is absent, of what is around it. */
  get place(): Place & { readonly file: string } {
    const { source, key, start } = this.#near
    return { file: source.file, ...source.place(key >= 0 ? key : start) }
  }

  /** Every setting in it, itself first. */
  *walk(): Generator<Setting> {
    yield this
    for (const item of this.items) yield* item.walk()
    for (const [, member] of this.members) yield* member.walk()
  }
}

/** The name in `lowerCamelCase`, where a mapping has that. */
function otherName(name: string, members: ReadonlyMap<string, Node>): string {
  if (!name.includes('_')) return name
  const camel = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())
  return members.has(camel) ? camel : name
}
