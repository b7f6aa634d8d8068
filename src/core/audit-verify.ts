import { noHash, type SealedEvent, seal } from './audit-chain.ts'
import { type Checkpoint, readCheckpoint, signatureOf } from './audit-checkpoint.ts'
import { ChainHashes } from './audit-hashes.ts'
import type { AuditHead, AuditLogName } from './audit-log.ts'
import { type AuditStarted, type LinkReference, readStarted } from './audit-started.ts'
import { isJsonObject, readJsonObject } from './json.ts'

/** What is wrong with a trail. */
export type TrailFault = 'changed' | 'removed' | 'reordered' | 'inserted' | 'duplicated' | 'truncated' | 'checkpoint' | 'anchor'

/** A place where a trail is broken. */
export interface TrailProblem {
  readonly fault: TrailFault
  readonly log: AuditLogName | undefined
  /** Where it was noticed: 1 is the first line of its log; 0 for what no line shows. */
  readonly line: number
  readonly boot: string | undefined
  readonly seq: number | undefined
  /** Of the event, where there is one. */
  readonly id: string | undefined
  /** A sentence that says what was expected. */
  readonly expected: string
}

/** What the signature of a checkpoint is worth. */
export type SignatureVerdict = 'good' | 'bad' | 'unknown_key'

export interface VerificationOptions {
  /** Judges the JWS of a checkpoint; absent: signatures are not looked at. */
  readonly judge?: ((jws: string) => SignatureVerdict) | undefined
  /** Links that are known to have been there. */
  readonly anchors?: readonly LinkReference[]
}

export interface VerificationResult {
  /** In the order in which they were noticed; at most {@link mostProblems}. */
  readonly problems: readonly TrailProblem[]
  readonly more: number
  /** What is no fault, but should be known. */
  readonly notes: readonly string[]
  readonly lines: Readonly<Record<AuditLogName, number>>
  readonly chains: number
  /** The last link of each chain. */
  readonly heads: readonly AuditHead[]
}

/** Verifies a trail that is told line by line. Pure; memory: about 33 bytes a line. */
export interface Verification {
  /** The next line of a log, in stored order. */
  readonly take: (log: AuditLogName, text: string) => void
  readonly finish: () => VerificationResult
}

export const mostProblems = 100
/** A gap that is wider is no gap, but a number that was made up. */
const widestGap = 10_000_000

/** Where a line stands. */
interface At {
  readonly log: AuditLogName
  readonly line: number
  readonly id: string | undefined
}

interface Chain {
  readonly log: AuditLogName
  readonly hashes: ChainHashes
  /** The line of the last link, and what else the next one may follow: a second claim to its place, or the hash that its text has now. */
  lastAt: At
  rival: { readonly hash: string; readonly at: At; readonly problem: number } | undefined
  mended: string | undefined
  /** What was not there when it should have been. */
  gaps: { from: number; to: number; readonly at: At }[]
  /** What the first link follows: to be compared with a checkpoint, where it is not number 1. */
  begins: { readonly prev: string; readonly at: At }
}

type Draft = { -readonly [member in keyof TrailProblem]: TrailProblem[member] }

const shortened = (hash: string): string => `${hash.slice(0, 12)}…`
const named = ({ boot, seq, hash }: LinkReference): string => `${boot}:${seq}:${shortened(hash)}`

export function createVerification({ judge, anchors = [] }: VerificationOptions = {}): Verification {
  const chains = new Map<string, Chain>()
  const lines = { events: 0, decisions: 0 }
  const unchained = { events: 0, decisions: 0 }
  const begun = { events: false, decisions: false }
  const realms: { [log in AuditLogName]?: string } = {}
  const problems: Draft[] = []
  const starts: { readonly at: At; readonly boot: string; readonly reference: LinkReference }[] = []
  const befores: { readonly at: At; readonly boot: string; readonly before: number }[] = []
  const checkpoints: { readonly at: At; readonly boot: string; readonly seq: number; readonly detail: SealedEvent['detail'] }[] = []
  const notes: string[] = []
  let more = 0

  const report = (fault: TrailFault, at: At | undefined, boot: string | undefined, seq: number | undefined, expected: string): number => {
    if (problems.length >= mostProblems) more++
    else problems.push({ fault, log: at?.log, line: at?.line ?? 0, boot, seq, id: at?.id, expected })
    return problems.length - 1
  }

  const take = (log: AuditLogName, text: string): void => {
    const line = ++lines[log]
    const event = readJsonObject(text) as unknown as SealedEvent | undefined
    const id = typeof event?.id === 'string' ? event.id : /"id":"([^"]*)"/.exec(text)?.[1]
    const at: At = { log, line, id }
    if (event && event.chain === undefined) {
      if (!begun[log]) unchained[log]++
      else report('inserted', at, undefined, undefined, 'a link (chain): only lines from before the first chain have none')
      return
    }
    begun[log] = true
    const { boot, seq, hash, prev } = isJsonObject(event?.chain) ? (event.chain as Partial<SealedEvent['chain']>) : placeIn(text)
    const readable = typeof boot === 'string' && Number.isSafeInteger(seq) && isHash(hash) && isHash(prev)
    if (!event || !readable) {
      const what = event ? 'a link of boot, hash, log, prev and seq' : 'the JSON of an event'
      report('changed', at, typeof boot === 'string' ? boot : undefined, Number.isSafeInteger(seq) ? seq : undefined, what)
      if (!readable) return
    }
    const link = { boot: boot!, seq: seq!, hash: hash!, prev: prev! }
    if (!event) {
      place(link, at, undefined)
      return
    }
    const { chain, ...told } = event
    const sealed = seal(told, { boot: link.boot, log: chain.log, prev: link.prev, seq: link.seq })
    if (sealed.text !== text) {
      const expected =
        sealed.hash === link.hash
          ? 'the canonical form (RFC 8785) of what it says'
          : `an event whose hash is ${link.hash}; what is there has ${sealed.hash}`
      report('changed', at, link.boot, link.seq, expected)
      place(link, at, sealed.hash)
      return
    }
    if (chain.log !== log) {
      report('inserted', at, link.boot, link.seq, `a line of the log ${log}: this one is of ${String(chain.log)}`)
      return
    }
    if (place(link, at, undefined) !== 'new') return
    if (told.type === 'audit_started') begin(told, link.boot, link.seq, link.prev, at)
    else if (link.seq === 1) report('inserted', at, link.boot, 1, 'audit_started, the first event of every chain')
    if (told.type === 'audit_checkpoint') checkpoints.push({ at, boot: link.boot, seq: link.seq, detail: told.detail })
  }

  /** What the first event of a chain names must be there already. */
  const begin = (event: Pick<SealedEvent, 'realm' | 'detail'>, boot: string, seq: number, prev: string, at: At): void => {
    const started = readStarted(event.detail)
    realms[at.log] ??= event.realm
    if (!started || seq !== 1) report('inserted', at, boot, seq, 'audit_started as the first event of a chain, with what it resumes')
    else if (realms[at.log] !== event.realm)
      report('inserted', at, boot, seq, `a chain of the realm ${realms[at.log]}, as those before it: this one is of ${event.realm}`)
    else if (prev !== (started.resumes?.hash ?? noHash))
      report('changed', at, boot, seq, `prev to be the hash of what it resumes, ${shortened(started.resumes?.hash ?? noHash)}`)
    else follow(started, boot, at)
  }
  const follow = ({ resumes, heads, before }: Omit<AuditStarted, 'log'>, boot: string, at: At): void => {
    if (!resumes) befores.push({ at, boot, before })
    for (const reference of resumes ? [resumes, ...heads] : heads)
      if (chains.get(reference.boot)?.hashes.get(reference.seq) !== reference.hash) starts.push({ at, boot, reference })
  }

  /** Puts a link into its chain. @param now where the text was changed: the hash that it has now. @returns whether the place was free */
  const place = (link: LinkReference & { readonly prev: string }, at: At, now: string | undefined): 'new' | 'not' => {
    const { boot, seq, hash, prev } = link
    const chain = chains.get(boot)
    if (!chain) {
      // A line that was changed may name a chain that never was.
      if (now !== undefined && seq !== 1) return 'not'
      const made = { log: at.log, hashes: new ChainHashes(seq, hash), lastAt: at, rival: undefined, mended: now, gaps: [] }
      chains.set(boot, { ...made, begins: { prev, at } })
      return 'new'
    }
    const { hashes } = chain
    const advance = (): 'new' => {
      hashes.set(seq, hash)
      Object.assign(chain, { lastAt: at, rival: undefined, mended: now })
      return 'new'
    }
    if (seq === hashes.last + 1) {
      const before = hashes.get(hashes.last)
      if (chain.rival && prev === chain.rival.hash) {
        // The second claim was the true one: the line that came first has been put there.
        const told = problems[chain.rival.problem]
        if (told) Object.assign(told, { line: chain.lastAt.line, id: chain.lastAt.id })
        hashes.set(hashes.last, chain.rival.hash)
      } else if (prev !== before && prev !== chain.mended) {
        const whose = chain.lastAt.id === undefined ? '' : ` (event ${chain.lastAt.id})`
        report(
          'changed',
          at,
          boot,
          seq,
          `prev to be ${before}, the hash of link ${seq - 1}${whose}; it is ${prev}: one of the two was changed`,
        )
      }
      return advance()
    }
    if (seq > hashes.last) {
      // A line that was changed is no witness of what is missing.
      if (now !== undefined || seq - hashes.last > widestGap) {
        if (now === undefined) report('inserted', at, boot, seq, `link ${hashes.last + 1}`)
        return 'not'
      }
      chain.gaps.push({ from: hashes.last + 1, to: seq - 1, at })
      return advance()
    }
    if (now !== undefined) return 'not'
    const gap = chain.gaps.findIndex(({ from, to }) => from <= seq && seq <= to)
    const early = seq === hashes.first - 1
    if (gap >= 0 || early) {
      report(
        'reordered',
        at,
        boot,
        seq,
        `link ${seq} before link ${early ? hashes.first : chain.gaps[gap]!.to + 1}: it stands after link ${hashes.last}`,
      )
      if (early) chain.begins = { prev, at }
      else {
        const { from, to, at: noticed } = chain.gaps[gap]!
        const rest = [
          { from, to: seq - 1, at: noticed },
          { from: seq + 1, to, at: noticed },
        ].filter((each) => each.from <= each.to)
        chain.gaps.splice(gap, 1, ...rest)
      }
      hashes.set(seq, hash)
      return 'new'
    }
    if (hashes.get(seq) === hash) report('duplicated', at, boot, seq, `link ${hashes.last + 1}: this one was there before`)
    else {
      const problem = report('inserted', at, boot, seq, `link ${hashes.last + 1}: another event holds the place of link ${seq}`)
      if (seq === hashes.last) chain.rival = { hash, at, problem }
    }
    return 'not'
  }

  const finish = (): VerificationResult => {
    const cut = judged()
    const cutAt = (boot: string): LinkReference | undefined => cut.chains.get(boot)
    for (const [boot, { hashes, begins, gaps }] of chains) {
      const end = cutAt(boot)
      const gone = end?.seq ?? 0
      const { first } = hashes
      if (first > 1 && gone < first - 1) {
        const from = gone + 1
        report(
          'removed',
          begins.at,
          boot,
          from,
          `${linksOf(from, first - 1)} before link ${first}: no checkpoint says that they were removed`,
        )
      } else if (first > 1 && end && gone === first - 1 && begins.prev !== end.hash)
        report('changed', begins.at, boot, first, `prev to be ${end.hash}, the link that the checkpoint removed last; it is ${begins.prev}`)
      const there = end && hashes.get(gone)
      if (there !== undefined && there !== end?.hash)
        report('changed', begins.at, boot, gone, `the hash ${end?.hash}, which the checkpoint says; it is ${there}`)
      for (const { from, to, at } of gaps) {
        const left = Math.max(from, gone + 1)
        if (left <= to) report('removed', at, boot, left, `${linksOf(left, to)} before link ${to + 1}`)
      }
    }
    const missing = (reference: LinkReference, at: At | undefined, who: string): void => {
      const end = cutAt(reference.boot)
      const hashes = chains.get(reference.boot)?.hashes
      const found = hashes?.get(reference.seq)
      if (found === reference.hash) {
        if (at)
          report('reordered', at, reference.boot, reference.seq, `link ${named(reference)} before this line, for ${who} resumes from it`)
      } else if (found !== undefined)
        report(
          at ? 'changed' : 'anchor',
          at,
          reference.boot,
          reference.seq,
          `link ${named(reference)}, as ${who} says; it is ${shortened(found)}`,
        )
      else if (end && (end.seq > reference.seq || (end.seq === reference.seq && end.hash === reference.hash))) {
        if (!at) notes.push(`the anchor ${named(reference)} was removed by retention: it cannot be compared any more`)
      } else {
        const last = Math.max(hashes?.last ?? 0, end?.seq ?? 0)
        const from = last < reference.seq ? last + 1 : reference.seq
        report('truncated', at, reference.boot, from, `${linksOf(from, reference.seq)}, for ${who} names ${named(reference)}`)
      }
    }
    for (const { at, boot, reference } of starts) missing(reference, at, `the chain ${boot}`)
    for (const { at, boot, before } of befores) {
      const [seen, removed] = [unchained[at.log], cut.unchained[at.log]]
      if (seen > before || seen + removed < before || (removed === 0 && seen !== before))
        report(
          seen > before ? 'inserted' : 'removed',
          at,
          boot,
          1,
          `${before} lines without a link before the first chain; there are ${seen}`,
        )
    }
    for (const anchor of anchors) missing(anchor, undefined, 'the anchor')
    const order = { events: 0, decisions: 1 }
    problems.sort((a, b) => (a.log ? order[a.log] : 2) - (b.log ? order[b.log] : 2) || a.line - b.line)
    const heads = [...chains].map(([boot, { log, hashes }]) => ({ log, boot, seq: hashes.last, hash: hashes.get(hashes.last) ?? noHash }))
    return { problems, more, notes, lines, chains: chains.size, heads }
  }

  /** The checkpoints that may be believed, all in one. */
  const judged = () => {
    const found = { chains: new Map<string, LinkReference>(), unchained: { events: 0, decisions: 0 } }
    const believe = ({ log, chains, unchained }: Checkpoint): void => {
      found.unchained[log] = Math.max(found.unchained[log], unchained)
      for (const chain of chains) if (chain.seq > (found.chains.get(chain.boot)?.seq ?? 0)) found.chains.set(chain.boot, chain)
    }
    const newest = new Map(checkpoints.map((each) => [each.at.log, each]))
    let unseen = 0
    for (const each of checkpoints) {
      const { at, boot, seq, detail } = each
      const jws = signatureOf(detail)
      const checkpoint = readCheckpoint(detail)
      const verdict = jws === undefined ? 'unsigned' : (judge?.(jws) ?? 'unseen')
      if (!checkpoint || checkpoint.log !== at.log || (realms[at.log] ?? checkpoint.realm) !== checkpoint.realm)
        report('checkpoint', at, boot, seq, `a checkpoint of the log ${at.log} of this realm`)
      else if (verdict === 'bad') report('checkpoint', at, boot, seq, 'a checkpoint with a good signature of the issuer')
      else if (verdict === 'unsigned' && judge)
        report('checkpoint', at, boot, seq, 'a checkpoint that the issuer signed: this one nobody did')
      else if (verdict === 'unknown_key') {
        // Keys go; what an older one says, the newest says again.
        if (each === newest.get(at.log)) report('checkpoint', at, boot, seq, 'the newest checkpoint to be signed by one of the keys given')
      } else {
        if (verdict === 'unseen') unseen++
        believe(checkpoint)
      }
    }
    if (unseen > 0) notes.push('the signatures of checkpoints were not looked at: no keys were given')
    return found
  }

  return { take, finish }
}

const isHash = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
const linksOf = (from: number, to: number): string => (from === to ? `link ${from}` : `links ${from} to ${to}`)

/** What a line that is no JSON still lets see of its place. */
function placeIn(text: string): Partial<SealedEvent['chain']> {
  const [, boot, hash, prev, seq] = /"boot":"([^"]*)","hash":"([^"]*)","log":"[^"]*","prev":"([^"]*)","seq":(\d+)\}/.exec(text) ?? []
  return boot === undefined ? {} : { boot, hash: hash!, prev: prev!, seq: Number(seq) }
}
