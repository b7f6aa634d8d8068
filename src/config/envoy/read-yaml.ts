import { isAlias, isMap, isScalar, isSeq, parseAllDocuments } from 'yaml'
import { maxDepth, type Node, NotReadable, type Scalar, type Source, TooDeep } from './node.ts'

/** The tree of a YAML file takes two hundred times its size. */
const maxYamlBytes = 4 * 1024 * 1024
/** Values of a document, those that aliases repeat counted as often: a few lines of aliases can stand for billions. */
const mostValues = 2_000_000

/**
 * Reads all documents of a YAML text with the place of every value; empty ones are left out.
 * @throws {NotReadable} where it is not YAML
 */
export function readYaml(text: string, source: Source): Node[] {
  if (text.length > maxYamlBytes)
    throw new NotReadable(`more than ${maxYamlBytes} characters of YAML: write it as JSON, which is read faster`, 0)
  const documents = parseAllDocuments(text, { prettyErrors: false, uniqueKeys: true, strict: true })
  if (!Array.isArray(documents)) return []
  return documents.flatMap((document) => {
    const [error] = document.errors
    if (error) throw new NotReadable(firstLine(error.message), error.pos[0])
    if (document.contents === null || (isScalar(document.contents) && document.contents.value === null)) return []
    return [new Converter(text, source).node(document.contents, -1, 0)]
  })
}

const firstLine = (message: string): string => (message.split('\n')[0] ?? '').trim()
const startOf = (node: unknown): number => (node as { range?: readonly number[] } | null | undefined)?.range?.[0] ?? -1

class Converter {
  readonly #text: string
  readonly #source: Source
  readonly #anchors = new Map<string, { readonly node: Node; readonly values: number }>()
  #values = 0

  constructor(text: string, source: Source) {
    this.#text = text
    this.#source = source
  }

  node(from: unknown, key: number, depth: number): Node {
    const start = Math.max(startOf(from), 0)
    if (depth > maxDepth) throw new TooDeep(start)
    const before = this.#values++
    if (isAlias(from)) {
      const meant = this.#anchors.get(from.source)
      if (!meant) throw new NotReadable(`no anchor "${from.source}" stands before this`, start)
      this.#values += meant.values
      if (this.#values > mostValues) throw new NotReadable(`aliases that stand for more than ${mostValues} values`, start)
      return { ...meant.node, start, key, source: this.#source }
    }
    const node: Node = { source: this.#source, start, key, ...this.#content(from, start, depth) }
    const { anchor } = (from ?? {}) as { anchor?: string }
    if (anchor !== undefined) this.#anchors.set(anchor, { node, values: this.#values - before })
    return node
  }

  #content(from: unknown, start: number, depth: number): Pick<Node, 'value' | 'indent'> {
    if (isMap(from)) {
      const members = new Map<string, Node>()
      for (const { key, value } of from.items) {
        const name = isScalar(key) ? String(key.value) : ''
        const member = this.node(value, startOf(key), depth + 1)
        // Kubernetes reads merge keys; what stands beside one wins.
        if (name === '<<' && member.value instanceof Map)
          for (const [merged, at] of member.value) members.has(merged) || members.set(merged, at)
        else members.set(name, member)
      }
      return { value: members }
    }
    if (isSeq(from)) return { value: from.items.map((item) => this.node(item, -1, depth + 1)) }
    if (!isScalar(from)) return { value: null }
    if (from.type !== 'BLOCK_LITERAL') return { value: from.value as Scalar }
    const body = this.#text.slice(this.#text.indexOf('\n', start) + 1)
    return { value: from.value as Scalar, indent: /^(?:[ \t]*\n)*( *)/.exec(body)?.[1]?.length ?? 0 }
  }
}
