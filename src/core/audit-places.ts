import { ChainHashes } from './audit-hashes.ts'
import type { AuditLogName } from './audit-log.ts'
import type { LinkReference } from './audit-started.ts'
import { type LineAt, linksOf, type TrailProblems } from './audit-trail-problem.ts'

/** A gap that is wider is no gap, but a number that was made up. */
const widestGap = 10_000_000

interface Gap {
  readonly from: number
  readonly to: number
  readonly at: LineAt
}

interface Chain {
  readonly log: AuditLogName
  readonly hashes: ChainHashes
  /** The line of the last link. */
  lastAt: LineAt
  /** A second claim to the place of the last link, which the next one may follow. */
  rival: { readonly hash: string; readonly at: LineAt; readonly problem: number } | undefined
  /** Where the text of the last link was changed: the hash that it has now, which the next one may follow. */
  mended: string | undefined
  /** What was not there when it should have been. */
  gaps: Gap[]
  /** What the first link that is there follows. */
  begins: { readonly prev: string; readonly at: LineAt }
}

export type ClaimedLink = LinkReference & { readonly prev: string }

/** The chains of a trail, filled link by link: finds what stands in a wrong place. */
export class ChainPlaces {
  readonly #chains = new Map<string, Chain>()
  readonly #problems: TrailProblems

  constructor(problems: TrailProblems) {
    this.#problems = problems
  }

  get(boot: string): ChainHashes | undefined {
    return this.#chains.get(boot)?.hashes
  }

  /** The last link of each. */
  heads(): readonly (LinkReference & { readonly log: AuditLogName })[] {
    return [...this.#chains].map(([boot, { log, hashes }]) => ({ log, boot, seq: hashes.last, hash: hashes.get(hashes.last) ?? '' }))
  }

  /**
   * Puts a link into its chain.
   * @param now where its text was changed: the hash that the text has now
   * @returns whether it is a link that was not there before
   */
  place(link: ClaimedLink, at: LineAt, now: string | undefined): boolean {
    const { boot, seq, hash, prev } = link
    const chain = this.#chains.get(boot)
    if (!chain) {
      // A line that was changed may name a chain that never was.
      if (now !== undefined && seq !== 1) return false
      const hashes = new ChainHashes(seq, hash)
      this.#chains.set(boot, { log: at.log, hashes, lastAt: at, rival: undefined, mended: now, gaps: [], begins: { prev, at } })
      return true
    }
    const { hashes } = chain
    if (seq > hashes.last) {
      if (seq === hashes.last + 1) {
        if (now === undefined) this.#follows(chain, link, at)
      } else if (now !== undefined) return false
      else if (seq - hashes.last > widestGap) {
        this.#problems.add('inserted', at, boot, seq, `link ${hashes.last + 1}`)
        return false
      } else chain.gaps.push({ from: hashes.last + 1, to: seq - 1, at })
      hashes.set(seq, hash)
      Object.assign(chain, { lastAt: at, rival: undefined, mended: now })
      return true
    }
    // A line that was changed is no witness of anything but that.
    if (now !== undefined) return false
    const late = this.#late(chain, link, at)
    if (late) hashes.set(seq, hash)
    else if (hashes.get(seq) === hash) this.#problems.add('duplicated', at, boot, seq, `link ${hashes.last + 1}: this one was there before`)
    else {
      const problem = this.#problems.add('inserted', at, boot, seq, `link ${hashes.last + 1}: another event holds the place of link ${seq}`)
      if (seq === hashes.last) chain.rival = { hash, at, problem }
    }
    return late
  }

  /** Whether the next link follows the last one. */
  #follows(chain: Chain, { boot, seq, prev }: ClaimedLink, at: LineAt): void {
    const { hashes, rival, lastAt, mended } = chain
    const before = hashes.get(seq - 1)
    if (rival && prev === rival.hash) {
      // The second claim was the true one: the line that came first has been put there.
      this.#problems.blame(rival.problem, lastAt)
      hashes.set(seq - 1, rival.hash)
    } else if (prev !== before && prev !== mended) {
      const whose = lastAt.id === undefined ? '' : ` (event ${lastAt.id})`
      const expected = `prev to be ${before}, the hash of link ${seq - 1}${whose}; it is ${prev}: one of the two was changed`
      this.#problems.add('changed', at, boot, seq, expected)
    }
  }

  /** Whether a link fills a gap, or stands before what was there first: then it has changed its place. */
  #late(chain: Chain, { boot, seq, prev }: ClaimedLink, at: LineAt): boolean {
    const { hashes, gaps } = chain
    const gap = gaps.findIndex(({ from, to }) => from <= seq && seq <= to)
    const early = seq === hashes.first - 1
    if (gap < 0 && !early) return false
    const next = early ? hashes.first : gaps[gap]!.to + 1
    this.#problems.add('reordered', at, boot, seq, `link ${seq} before link ${next}: it stands after link ${hashes.last}`)
    if (early) chain.begins = { prev, at }
    else {
      const { from, to, at: noticed } = gaps[gap]!
      const rest = [
        { from, to: seq - 1, at: noticed },
        { from: seq + 1, to, at: noticed },
      ]
      gaps.splice(gap, 1, ...rest.filter((each) => each.from <= each.to))
    }
    return true
  }

  /** Once every line was seen: what is missing, but for what checkpoints say was removed. @param cut by chain, the last link removed */
  finish(cut: ReadonlyMap<string, LinkReference>): void {
    for (const [boot, { hashes, begins, gaps }] of this.#chains) {
      const end = cut.get(boot)
      const gone = end?.seq ?? 0
      const { first } = hashes
      if (gone < first - 1) {
        const expected = `${linksOf(gone + 1, first - 1)} before link ${first}: no checkpoint says that they were removed`
        this.#problems.add('removed', begins.at, boot, gone + 1, expected)
      } else if (end && first > 1 && gone === first - 1 && begins.prev !== end.hash) {
        const expected = `prev to be ${end.hash}, the link that the checkpoint removed last; it is ${begins.prev}`
        this.#problems.add('changed', begins.at, boot, first, expected)
      }
      const there = end && hashes.get(gone)
      if (there !== undefined && there !== end?.hash)
        this.#problems.add('changed', begins.at, boot, gone, `the hash ${end?.hash}, as the checkpoint says; it is ${there}`)
      for (const { from, to, at } of gaps) {
        const left = Math.max(from, gone + 1)
        if (left <= to) this.#problems.add('removed', at, boot, left, `${linksOf(left, to)} before link ${to + 1}`)
      }
    }
  }
}
