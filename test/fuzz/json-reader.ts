/** What a JSON text holds, beside its value. */
export interface ReadJson {
  readonly value: unknown
  /** How deep its lists and objects nest; 0 for a bare value. */
  readonly depth: number
  /** Whether an object in it names a member twice, escapes read. */
  readonly repeats: boolean
}

/**
 * Reads JSON (RFC 8259) one character at a time: slow, and simple enough to be believed.
 * @returns undefined where the text is no JSON
 */
export function readJson(text: string): ReadJson | undefined {
  let at = 0
  let deepest = 0
  let repeats = false
  class NoJson extends Error {}
  const space = () => {
    while (at < text.length && ' \t\n\r'.includes(text[at]!)) at++
  }
  const take = (what: string) => {
    if (!text.startsWith(what, at)) throw new NoJson()
    at += what.length
  }
  const string = (): string => {
    take('"')
    let out = ''
    for (;;) {
      const char = text[at++]
      if (char === undefined || char < ' ') throw new NoJson()
      if (char === '"') return out
      if (char !== '\\') {
        out += char
        continue
      }
      const code = text[at++] ?? ''
      const simple: Record<string, string> = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }
      if (code === 'u') {
        const hex = text.slice(at, at + 4)
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) throw new NoJson()
        out += String.fromCharCode(Number.parseInt(hex, 16))
        at += 4
      } else if (Object.hasOwn(simple, code)) out += simple[code]
      else throw new NoJson()
    }
  }
  const list = <T>(close: string, item: () => T): T[] => {
    const items: T[] = []
    space()
    if (text[at] === close) {
      at++
      return items
    }
    for (;;) {
      items.push(item())
      space()
      if (text[at] === close) {
        at++
        return items
      }
      take(',')
    }
  }
  const value = (depth: number): unknown => {
    space()
    const char = text[at]
    if (char === '"') return string()
    if (char === '{') {
      at++
      deepest = Math.max(deepest, depth + 1)
      const members = list('}', () => {
        space()
        const name = string()
        space()
        take(':')
        return [name, value(depth + 1)] as const
      })
      if (new Set(members.map(([name]) => name)).size < members.length) repeats = true
      return Object.fromEntries(members)
    }
    if (char === '[') {
      at++
      deepest = Math.max(deepest, depth + 1)
      return list(']', () => value(depth + 1))
    }
    for (const [word, meaning] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (text.startsWith(word, at)) {
        at += word.length
        return meaning
      }
    }
    const number = /^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/.exec(text.slice(at, at + 400))?.[0]
    if (number === undefined) throw new NoJson()
    at += number.length
    return Number(number)
  }
  try {
    const read = value(0)
    space()
    return at === text.length ? { value: read, depth: deepest, repeats } : undefined
  } catch (cause) {
    if (cause instanceof NoJson) return undefined
    throw cause
  }
}
