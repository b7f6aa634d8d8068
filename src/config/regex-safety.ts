/**
 * Looks for forms that make a backtracking engine take exponential time: an unbounded repetition inside a
 * repeated group, alternatives of a repeated group that can begin alike, back references.
 * @returns a sentence, or undefined where none was found
 */
export function regexFault(source: string): string | undefined {
  try {
    new RegExp(source, 'u')
  } catch {
    return 'expected a regular expression of ECMAScript (with the u flag)'
  }
  if (source.length > 1000) return 'expected a regular expression of at most 1000 characters'
  return new Scan(source).group().fault
}

interface Seen {
  fault: string | undefined
  /** Whether something inside repeats without bound, or very often. */
  repeats: boolean
  /** First characters of the alternatives, where plain; undefined for anything else. */
  readonly starts: (string | undefined)[]
}

const nested = 'a repetition inside a repeated group can take exponential time: write it without nesting, or with a small {n,m}'
const alike =
  'alternatives of a repeated group that can begin alike can take exponential time: write each with a first character of its own'

class Scan {
  readonly #source: string
  #at = 0

  constructor(source: string) {
    this.#source = source
  }

  /** Reads alternatives up to the closing parenthesis or the end. */
  group(): Seen {
    const seen: Seen = { fault: undefined, repeats: false, starts: [] }
    let first = true
    while (this.#at < this.#source.length && this.#source[this.#at] !== ')') {
      const char = this.#source[this.#at]!
      if (char === '|') {
        if (first) seen.starts.push(undefined)
        this.#at++
        first = true
        continue
      }
      const inner = this.#atom(seen)
      const many = this.#quantifier()
      if (first && char !== '^') {
        seen.starts.push(inner || many.optional || !/^[\w\-/~:@]$/.test(char) ? undefined : char)
        first = false
      }
      if (inner && many.many) {
        if (inner.repeats) seen.fault ??= nested
        if (inner.starts.length > 1 && (inner.starts.includes(undefined) || new Set(inner.starts).size < inner.starts.length))
          seen.fault ??= alike
      }
      if (inner?.fault) seen.fault ??= inner.fault
      if (many.many || inner?.repeats) seen.repeats = true
    }
    return seen
  }

  /** One atom; the inside, where it is a group. */
  #atom(seen: Seen): Seen | undefined {
    const char = this.#source[this.#at]!
    if (char === '\\') {
      if (/[1-9k]/.test(this.#source[this.#at + 1] ?? '')) seen.fault ??= 'back references can take exponential time: leave them out'
      this.#at += 2
      if (/[pPu]/.test(this.#source[this.#at - 1] ?? '') && this.#source[this.#at] === '{')
        this.#at = this.#source.indexOf('}', this.#at) + 1
      return undefined
    }
    if (char === '[') {
      while (this.#source[this.#at] !== ']') this.#at += this.#source[this.#at] === '\\' ? 2 : 1
      this.#at++
      return undefined
    }
    if (char !== '(') {
      this.#at++
      return undefined
    }
    this.#at += /^\((?:\?(?::|=|!|<=|<!|<[^>]+>|[a-z-]+:))?/.exec(this.#source.slice(this.#at))?.[0].length ?? 1
    const inner = this.group()
    this.#at++
    return inner
  }

  #quantifier(): { readonly many: boolean; readonly optional: boolean } {
    const match = /^(?:[*+?]|\{\d+(?:,\d*)?\})\??/.exec(this.#source.slice(this.#at))
    if (!match) return { many: false, optional: false }
    this.#at += match[0].length
    const form = match[0]
    const bounds = /^\{(\d+)(,(\d*))?\}/.exec(form)
    if (!bounds) return { many: !form.startsWith('?'), optional: !form.startsWith('+') }
    const most = bounds[2] === undefined ? Number(bounds[1]) : bounds[3] === '' ? Number.POSITIVE_INFINITY : Number(bounds[3])
    return { many: most > 10, optional: bounds[1] === '0' }
  }
}
