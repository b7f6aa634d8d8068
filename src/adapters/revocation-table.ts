import { randomFillSync } from 'node:crypto'

/** An entry as it is kept; whole seconds since the epoch. */
export interface TableEntry {
  readonly at: number
  readonly until: number
}

/** Revocations by level and target, 16 bytes each and the room between them. Not one look-up allocates anything. */
export interface RevocationTable {
  /**
   * Keeps the later `at` and the later `until` of all that was put for the same level and target.
   * @param level a small number, below `levels`
   * @param at seconds since the epoch; a fraction is rounded up, and what is no number lasts for ever: rounding only ever refuses more
   * @returns whether it says more than what was known
   */
  readonly put: (level: number, target: string, at: number, until: number) => boolean
  /** What {@link covers} asks about, from now on. One look at the text is enough for all levels. */
  readonly aim: (target: string) => void
  /**
   * Whether what {@link aim} named is revoked at this level.
   * @param now seconds since the epoch: an entry whose `until` has passed covers nothing
   * @param latest the instant that the entry's `at` must not be before; -Infinity for any
   */
  readonly covers: (level: number, now: number, latest: number) => boolean
  readonly get: (level: number, target: string) => TableEntry | undefined
  /** Entries of a level. */
  readonly count: (level: number) => number
  readonly size: () => number
  /**
   * Drops entries that ended before `now` from a part of the table, so that no slice of the work takes long.
   * @param part 0 to {@link tableParts} - 1
   */
  readonly prune: (part: number, now: number) => void
  /** Bytes of all slots. */
  readonly bytes: () => number
}

/** A part holds about a thousand of a million entries: to grow or to clear one takes some 20 µs. */
const partBits = 10
export const tableParts = 1 << partBits
/** Bits of the first lane that the part does not tell already; the level stands in the others. */
const tagBits = 32 - partBits
const tagMask = (1 << tagBits) - 1
/** Words of a slot: tag and level, second lane, at, until. An `until` of 0 is an empty slot. */
const words = 4
const leastSlots = 8
const forEver = 0xffff_ffff

/** Up to a whole second in 32 bits, which last until 2106 and there mean for ever. */
const seconds = (time: number): number => (time <= 0 ? 0 : time < forEver ? Math.ceil(time) : forEver)

/**
 * An empty table: open addressing on typed arrays. What is kept of a level and target is a 64-bit keyed hash (HalfSipHash-1-3,
 * with a key of this process), so that two targets are taken for one with a chance of 2^-64 for each pair, and nobody can look
 * for such a pair. Were it to happen, a token would be refused that nobody revoked; never the other way round.
 *
 * Each part grows and is cleared by itself. Nothing is deleted in place, so that no probe ever ends too early.
 * @param levels how many levels there are
 * @param seed the hash's key, two words; random unless a test gives it
 */
export function createRevocationTable(levels: number, seed = randomFillSync(new Int32Array(2))): RevocationTable {
  const parts: Uint32Array[] = Array.from({ length: tableParts }, () => new Uint32Array(0))
  const used = new Uint32Array(tableParts)
  const counts = new Uint32Array(levels)
  const [k0 = 0, k1 = 0] = seed
  /** Both lanes of what is asked about: typed, so that a number of 32 bits costs no allocation. */
  const lanes = new Int32Array(2)
  let size = 0

  function aim(target: string): void {
    let v0 = k0
    let v1 = k1 ^ 0xee
    let v2 = k0 ^ 0x6c796765
    let v3 = k1 ^ 0x74656462
    const { length } = target
    const half = length >>> 1
    // The text two units at a time, what is left of it with its length, then three rounds for each lane.
    for (let step = 0; step < half + 7; step++) {
      let word = 0
      if (step < half) word = target.charCodeAt(2 * step) | (target.charCodeAt(2 * step + 1) << 16)
      else if (step === half) word = (length << 17) | (length & 1 ? target.charCodeAt(length - 1) : 0)
      else if (step === half + 1) v2 ^= 0xee
      else if (step === half + 4) {
        lanes[0] = v1 ^ v3
        v1 ^= 0xdd
      }
      v3 ^= word
      v0 = (v0 + v1) | 0
      v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0
      v0 = (v0 << 16) | (v0 >>> 16)
      v2 = (v2 + v3) | 0
      v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2
      v0 = (v0 + v3) | 0
      v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0
      v2 = (v2 + v1) | 0
      v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2
      v2 = (v2 << 16) | (v2 >>> 16)
      v0 ^= word
    }
    lanes[1] = v1 ^ v3
  }

  /** @returns the word at which the entry begins, or the empty slot where it would; -1 where the part has no slots */
  function seek(slots: Uint32Array, tag: number, second: number): number {
    const last = slots.length - words
    for (let i = (second * words) & last; last >= 0; i = (i + words) & last) {
      if (slots[i + 3] === 0 || (slots[i] === tag && slots[i + 1] === second)) return i
    }
    return -1
  }

  const partOf = () => lanes[0]! >>> tagBits
  const tagOf = (level: number) => ((lanes[0]! & tagMask) | (level << tagBits)) >>> 0
  const secondOf = () => lanes[1]! >>> 0

  /** Copies what is still of use to new slots. */
  function rebuild(part: number, slots: number, now: number): void {
    const old = parts[part]!
    const next = new Uint32Array(slots * words)
    for (let i = 0; i < old.length; i += words) {
      if (old[i + 3]! < now) continue
      const to = seek(next, old[i]!, old[i + 1]!)
      for (let word = 0; word < words; word++) next[to + word] = old[i + word]!
    }
    parts[part] = next
  }

  const slotsFor = (entries: number): number => {
    let slots = leastSlots
    while (entries * 4 > slots * 3) slots *= 2
    return entries === 0 ? 0 : slots
  }

  /** The entry of what was aimed at; undefined where there is none. */
  function found(level: number): { readonly slots: Uint32Array; readonly i: number } | undefined {
    const slots = parts[partOf()]!
    const i = seek(slots, tagOf(level), secondOf())
    return i < 0 || slots[i + 3] === 0 ? undefined : { slots, i }
  }

  return {
    put: (level, target, at, until) => {
      const [from, to] = [seconds(at), seconds(until)]
      if (to === 0) return false
      aim(target)
      const known = found(level)
      if (known) {
        const { slots, i } = known
        if (slots[i + 2]! >= from && slots[i + 3]! >= to) return false
        slots[i + 2] = Math.max(slots[i + 2]!, from)
        slots[i + 3] = Math.max(slots[i + 3]!, to)
        return true
      }
      const part = partOf()
      const slots = slotsFor(used[part]! + 1)
      if (slots * words > parts[part]!.length) rebuild(part, slots, 1)
      const next = parts[part]!
      const i = seek(next, tagOf(level), secondOf())
      next[i] = tagOf(level)
      next[i + 1] = secondOf()
      next[i + 2] = from
      next[i + 3] = to
      used[part]! += 1
      counts[level]! += 1
      size += 1
      return true
    },
    aim,
    covers: (level, now, latest) => {
      const slots = parts[partOf()]!
      const i = seek(slots, tagOf(level), secondOf())
      // An empty slot ends at 0, before any now. What lasts for ever does so beyond what 32 bits can say.
      return i >= 0 && slots[i + 3]! > 0 && (slots[i + 3]! >= now || slots[i + 3] === forEver) && latest <= slots[i + 2]!
    },
    get: (level, target) => {
      aim(target)
      const known = found(level)
      return known && { at: known.slots[known.i + 2]!, until: known.slots[known.i + 3]! }
    },
    count: (level) => counts[level]!,
    size: () => size,
    prune: (part, now) => {
      const slots = parts[part]!
      const before = Math.min(now, forEver)
      let ended = 0
      for (let i = 3; i < slots.length; i += words) {
        if (slots[i] === 0 || slots[i]! >= before) continue
        ended += 1
        counts[slots[i - 3]! >>> tagBits]! -= 1
      }
      if (ended === 0) return
      used[part]! -= ended
      size -= ended
      rebuild(part, slotsFor(used[part]!), before)
    },
    bytes: () => parts.reduce((sum, slots) => sum + slots.byteLength, 0),
  }
}
