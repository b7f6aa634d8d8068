/**
 * Things that outlive a policy and are shared by the policies that want the same: JWKS, token endpoints,
 * connections to a platform's Redis. What no policy has wanted since the last one came in force is closed.
 */
export class Pool<T> {
  readonly #things = new Map<string, { readonly thing: T; wanted: boolean }>()
  readonly #close: (thing: T) => unknown
  /** What is replaced may still serve checks that began before: it is closed this much later. Milliseconds. */
  readonly #graceMs: number
  /** Replaced, and waiting out their grace. */
  readonly #leaving = new Map<T, NodeJS.Timeout>()

  constructor(close: (thing: T) => unknown, graceMs = 5000) {
    this.#close = close
    this.#graceMs = graceMs
  }

  /** @param key what the thing was made from, whole: two that differ in anything are two things */
  get(key: string, make: () => T): T {
    const known = this.#things.get(key)
    if (known) {
      known.wanted = true
      return known.thing
    }
    const thing = make()
    const entry = { thing, wanted: true }
    this.#things.set(key, entry)
    // What could not be made is made anew by the next policy that wants it.
    if (thing instanceof Promise) {
      thing.catch(() => {
        if (this.#things.get(key) === entry) this.#things.delete(key)
      })
    }
    return thing
  }

  /** Ends what was not asked for since the last sweep. */
  sweep(): void {
    for (const [key, entry] of this.#things) {
      if (entry.wanted) entry.wanted = false
      else {
        this.#things.delete(key)
        const leave = (): void => {
          this.#leaving.delete(entry.thing)
          void this.#end(entry.thing)
        }
        this.#leaving.set(entry.thing, setTimeout(leave, this.#graceMs).unref())
      }
    }
  }

  values(): T[] {
    return [...this.#things.values()].map(({ thing }) => thing)
  }

  async close(): Promise<void> {
    const things = [...this.values(), ...this.#leaving.keys()]
    for (const timer of this.#leaving.values()) clearTimeout(timer)
    this.#leaving.clear()
    this.#things.clear()
    for (const thing of things) await this.#end(thing)
  }

  /** Never rejects: what cannot be closed properly must not keep the rest open. */
  async #end(thing: T): Promise<void> {
    try {
      await this.#close(thing)
    } catch {
      // It is dropped either way.
    }
  }
}
