/** Equal parts of routes, kept once: most routes of a large policy demand what others do. Nobody changes them. */
export class Shared {
  readonly #known = new Map<string, unknown>()

  /** What was made first of what is the same, as JSON, in the same sort of thing. */
  made<T>(sort: string, from: unknown, make: () => T): T {
    const key = `${sort} ${JSON.stringify(from)}`
    if (this.#known.has(key)) return this.#known.get(key) as T
    const made = make()
    this.#known.set(key, made)
    return made
  }

  /** The first value that is the same as this one, which is plain data. */
  one<T>(sort: string, value: T): T {
    return value === undefined ? value : this.made(sort, value, () => value)
  }

  set(names: readonly string[]): ReadonlySet<string> {
    return this.made('set', names, () => new Set(names))
  }
}
