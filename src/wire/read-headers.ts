import { hashFactor, hashStart, sameName, type Texts } from './read-text.ts'

/** Numbers of one header: where it stands in the message, never a copy. */
export const stride = 5
export const atHash = 0
export const atName = 1
export const atNameEnd = 2
export const atValue = 3
export const atValueEnd = 4

const colon = 0x3a
const factor = hashFactor | 0
const nothing = new Int32Array(0)
const none: readonly string[] = []
const underscore = 0x5f

/** The header fields of one request, as places in its message: texts are made when they are asked for. */
export class Headers {
  readonly #message: Buffer
  readonly #texts: Texts
  #places = nothing
  #first = 0
  #end = 0
  #repeats = false
  #lastName: string | undefined
  #lastValue: string | undefined

  constructor(message: Buffer, texts: Texts) {
    this.#message = message
    this.#texts = texts
  }

  /**
   * Called once, when all were found.
   * @param places `stride` numbers for each field, between `first` and `end`; what is around belongs to other requests
   * @param repeats whether a name comes more than once, in whatever case of letters
   */
  fill(places: Int32Array<ArrayBuffer>, first: number, end: number, repeats: boolean): void {
    this.#places = places
    this.#first = first
    this.#end = end
    this.#repeats = repeats
  }

  /** The values of a header, joined with a comma. @param name in lower case */
  get(name: string): string | undefined {
    // One header is often asked for several times in a row.
    if (name === this.#lastName) return this.#lastValue
    const places = this.#places
    let value: string | undefined
    for (let i = this.#find(name, this.#first); i >= 0; i = this.#next(name, i)) {
      const text = this.#message.toString('utf8', places[i + atValue]!, places[i + atValueEnd]!)
      value = value === undefined ? text : `${value},${text}`
    }
    this.#lastName = name
    this.#lastValue = value
    return value
  }

  /** How many fields of this name came. @param name in lower case */
  count(name: string): number {
    let count = 0
    for (let i = this.#find(name, this.#first); i >= 0; i = this.#next(name, i)) count++
    return count
  }

  /** Lower-case names in the order of the message, each once, pseudo-headers left out. */
  names(): readonly string[] {
    const places = this.#places
    const names: string[] = []
    for (let i = this.#first; i < this.#end; i += stride) {
      const start = places[i + atName]!
      if (this.#message[start] === colon) continue
      names.push(this.#texts.lower(this.#message, start, places[i + atNameEnd]!, places[i + atHash]!))
    }
    return this.#repeats ? [...new Set(names)] : names
  }

  /** The names that begin with a prefix, or hold `_`: of most requests, none, which is found without making texts. */
  namesLike(prefix: string): readonly string[] {
    const places = this.#places
    const end = this.#end
    for (let i = this.#first; i < end; i += stride) {
      if (isLike(this.#message, places[i + atName]!, places[i + atNameEnd]!, prefix))
        return this.names().filter((name) => name.startsWith(prefix) || name.includes('_'))
    }
    return none
  }

  /** A pseudo-header, of which there is never more than one. @param name without the colon, in lower case */
  pseudo(name: string): string | undefined {
    const places = this.#places
    for (let i = this.#first; i < this.#end; i += stride) {
      const start = places[i + atName]!
      if (this.#message[start] === colon && sameName(this.#message, start + 1, places[i + atNameEnd]!, name)) {
        return this.#message.toString('utf8', places[i + atValue]!, places[i + atValueEnd]!)
      }
    }
    return undefined
  }

  #next(name: string, i: number): number {
    return this.#repeats ? this.#find(name, i + stride) : -1
  }

  #find(name: string, from: number): number {
    const places = this.#places
    if (name.charCodeAt(0) === colon) return -1
    const end = this.#end
    let hash = hashStart | 0
    for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), factor)
    for (let i = from; i < end; i += stride) {
      if (places[i] === hash && sameName(this.#message, places[i + atName]!, places[i + atNameEnd]!, name)) return i
    }
    return -1
  }
}

/** Whether a name may begin with the prefix (letters in any case), or holds an underscore. */
function isLike(bytes: Buffer, start: number, end: number, prefix: string): boolean {
  const { length } = prefix
  let alike = end - start >= length
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    if (byte === underscore) return true
    const at = i - start
    // 0x20 is what lower and upper case differ in; that `-` and a control character do, too, costs a second look.
    if (alike && at < length && (byte | 0x20) !== (prefix.charCodeAt(at) | 0x20)) alike = false
  }
  return alike
}
