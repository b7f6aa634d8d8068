import type { LookedUp } from '../core/ports.ts'

/** A copy of what state said of one resource. */
export interface Copy {
  /** What a look-up answers, made once; resources with the same labels may share it. */
  readonly hit: LookedUp
  /** Whole monotonic milliseconds when it was asked for: it may be as old as that. */
  readonly askedAt: number
}

interface Entry extends Copy {
  readonly id: string
  /** The kind that it belongs to. */
  readonly ids: Map<string, Entry>
  /** In the ring. */
  readonly place: number
  /** Asked for since the hand came by. */
  used: boolean
}

/**
 * Copies by kind and id, at most `max` of them. Which one gives way is found by a hand that goes round (the CLOCK
 * algorithm): a hit only sets a flag, where a list in the order of use would touch its neighbours, which among a
 * million entries are not in the processor's cache.
 */
export class NearCopies {
  readonly #max: number
  readonly #kinds = new Map<string, Map<string, Entry>>()
  readonly #ring: (Entry | undefined)[] = []
  /** Places of the ring whose entry was deleted. */
  #free: number[] = []
  #hand = 0

  /** @param max at least 1 */
  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#ring.length - this.#free.length
  }

  get(kind: string, id: string): Copy | undefined {
    const entry = this.#kinds.get(kind)?.get(id)
    if (entry !== undefined) entry.used = true
    return entry
  }

  /** @param now monotonic milliseconds */
  set(kind: string, id: string, hit: LookedUp, now: number): void {
    this.delete(kind, id)
    let ids = this.#kinds.get(kind)
    if (ids === undefined) {
      ids = new Map()
      this.#kinds.set(kind, ids)
    }
    const place = this.#place()
    // Whole numbers are kept in the entry itself, others beside it.
    const entry: Entry = { hit, askedAt: Math.floor(now), id, ids, place, used: false }
    this.#ring[place] = entry
    ids.set(id, entry)
  }

  delete(kind: string, id: string): void {
    const ids = this.#kinds.get(kind)
    const entry = ids?.get(id)
    if (entry === undefined) return
    ids!.delete(id)
    this.#ring[entry.place] = undefined
    this.#free.push(entry.place)
  }

  clear(): void {
    this.#kinds.clear()
    this.#ring.length = 0
    this.#free = []
    this.#hand = 0
  }

  /** A free place, made by the first entry that was not used since the hand came by, if need be. */
  #place(): number {
    const free = this.#free.pop()
    if (free !== undefined) return free
    if (this.#ring.length < this.#max) return this.#ring.push(undefined) - 1
    for (;;) {
      const entry = this.#ring[this.#hand]!
      const place = this.#hand
      this.#hand = (this.#hand + 1) % this.#max
      if (!entry.used) {
        entry.ids.delete(entry.id)
        return place
      }
      entry.used = false
    }
  }
}
