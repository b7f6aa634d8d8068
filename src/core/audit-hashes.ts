const bytes = 32

/** The hashes of one chain's links by their number: 32 bytes each, so that millions fit. */
export class ChainHashes {
  /** Number of the first link that was seen. */
  first: number
  /** The highest that was seen. */
  last: number
  #base: number
  #hashes: Buffer
  #known: Uint8Array

  constructor(seq: number, hash: string) {
    this.first = seq
    this.last = seq
    this.#base = seq
    this.#hashes = Buffer.alloc(bytes * 16)
    this.#known = new Uint8Array(16)
    this.set(seq, hash)
  }

  /** @param seq at most a few million past the last */
  set(seq: number, hash: string): void {
    if (seq < this.#base) this.#grow(this.#base - seq, 0)
    if (seq - this.#base >= this.#known.length) this.#grow(0, Math.max(this.#known.length, seq - this.#base + 1 - this.#known.length))
    this.#hashes.write(hash, (seq - this.#base) * bytes, bytes, 'hex')
    this.#known[seq - this.#base] = 1
    this.first = Math.min(this.first, seq)
    this.last = Math.max(this.last, seq)
  }

  /** @returns undefined for a link that was not seen */
  get(seq: number): string | undefined {
    const at = seq - this.#base
    return this.#known[at] === 1 ? this.#hashes.toString('hex', at * bytes, (at + 1) * bytes) : undefined
  }

  #grow(before: number, after: number): void {
    const [hashes, known] = [this.#hashes, this.#known]
    const size = known.length + before + after
    this.#hashes = Buffer.alloc(size * bytes)
    this.#known = new Uint8Array(size)
    hashes.copy(this.#hashes, before * bytes)
    this.#known.set(known, before)
    this.#base -= before
  }
}
