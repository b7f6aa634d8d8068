import type { LookedUp } from '../core/ports.ts'

/** No place. */
export const nowhere = -1

/** V8 makes a text of this length a view of the text that it was cut from, and keeps that whole. */
const viewLength = 13

/** A kind of resource: where the copies of each id stand. */
interface Kind {
  readonly number: number
  readonly places: Map<string, number>
}

/**
 * Copies of what state said of resources, by kind and id, at most `max` of them. Which one gives way is found by a hand that
 * goes round (the CLOCK algorithm): a hit only sets a flag, where a list in the order of use would touch its neighbours,
 * which among a million entries are not in the processor's cache. A copy is a place in a few lists and no object of its
 * own, which would take half as much again.
 */
export class NearCopies {
  readonly #max: number
  readonly #kinds = new Map<string, Kind>()
  #kindList: Kind[] = []
  // By place.
  #ids: string[] = []
  #hits: (LookedUp | undefined)[] = []
  #askedAt: number[] = []
  /** Number of the kind, times two; plus one where it was asked for since the hand came by. */
  #marks: number[] = []
  /** Places whose copy was deleted. */
  #free: number[] = []
  #hand = 0

  /** @param max at least 1 */
  constructor(max: number) {
    this.#max = max
  }

  get size(): number {
    return this.#ids.length - this.#free.length
  }

  /** @returns its place, good until the next change, or {@link nowhere}; it counts as use */
  find(kind: string, id: string): number {
    const place = this.#kinds.get(kind)?.places.get(id)
    if (place === undefined) return nowhere
    this.#marks[place]! |= 1
    return place
  }

  /** What a look-up answers; resources with the same labels may share it. */
  hit(place: number): LookedUp {
    return this.#hits[place]!
  }

  /** Whole monotonic milliseconds when it was asked for: it may be as old as that. */
  askedAt(place: number): number {
    return this.#askedAt[place]!
  }

  /** @param now monotonic milliseconds */
  set(kind: string, id: string, hit: LookedUp, now: number): void {
    this.delete(kind, id)
    const { number, places } = this.#kind(kind)
    const place = this.#place()
    const own = id.length < viewLength ? id : Buffer.from(id).toString()
    this.#ids[place] = own
    this.#hits[place] = hit
    // A whole number needs no object of its own.
    this.#askedAt[place] = Math.floor(now)
    this.#marks[place] = number * 2
    places.set(own, place)
  }

  delete(kind: string, id: string): void {
    const places = this.#kinds.get(kind)?.places
    const place = places?.get(id)
    if (places === undefined || place === undefined) return
    places.delete(id)
    this.#ids[place] = ''
    this.#hits[place] = undefined
    this.#free.push(place)
  }

  clear(): void {
    this.#kinds.clear()
    this.#kindList = []
    this.#ids = []
    this.#hits = []
    this.#askedAt = []
    this.#marks = []
    this.#free = []
    this.#hand = 0
  }

  #kind(name: string): Kind {
    const known = this.#kinds.get(name)
    if (known !== undefined) return known
    const kind = { number: this.#kindList.length, places: new Map<string, number>() }
    this.#kindList.push(kind)
    this.#kinds.set(name, kind)
    return kind
  }

  /** A free place, made by the first copy that was not used since the hand came by, if need be. */
  #place(): number {
    const free = this.#free.pop()
    if (free !== undefined) return free
    if (this.#ids.length < this.#max) return this.#ids.length
    const marks = this.#marks
    for (;;) {
      const place = this.#hand
      this.#hand = (place + 1) % this.#max
      const mark = marks[place]!
      if ((mark & 1) === 0) {
        this.#kindList[mark >>> 1]!.places.delete(this.#ids[place]!)
        return place
      }
      marks[place] = mark - 1
    }
  }
}
