import { noHash, type SealedEvent, seal } from './audit-chain.ts'
import { readCheckpoint, signatureOf } from './audit-checkpoint.ts'
import { type AuditHead, type AuditLogName, auditLogs } from './audit-log.ts'
import { ChainPlaces } from './audit-places.ts'
import { type LinkReference, readStarted } from './audit-started.ts'
import { type LineAt, linksOf, type TrailProblem, TrailProblems } from './audit-trail-problem.ts'
import { isJsonObject, readJsonObject } from './json.ts'

/** What the signature of a checkpoint is worth. */
export type SignatureVerdict = 'good' | 'bad' | 'unknown_key'

export interface VerificationOptions {
  /** Judges the JWS of a checkpoint; absent: signatures are not looked at. */
  readonly judge?: ((jws: string) => SignatureVerdict) | undefined
  /** Links that are known to have been there. */
  readonly anchors?: readonly LinkReference[] | undefined
}

export interface VerificationResult {
  /** In the order of the lines where they were noticed. */
  readonly problems: readonly TrailProblem[]
  /** Problems that were not listed any more. */
  readonly more: number
  /** What is no fault, but should be known. */
  readonly notes: readonly string[]
  readonly lines: Readonly<Record<AuditLogName, number>>
  /** The last link of each chain. */
  readonly heads: readonly AuditHead[]
}

/** Verifies a trail that is told line by line. Pure; remembers about 33 bytes a line. */
export interface Verification {
  /** The next line of a log, in stored order. */
  readonly take: (log: AuditLogName, text: string) => void
  readonly finish: () => VerificationResult
}

interface CheckpointAt {
  readonly at: LineAt
  readonly boot: string
  readonly seq: number
  readonly detail: SealedEvent['detail']
}

export function createVerification({ judge, anchors = [] }: VerificationOptions = {}): Verification {
  const problems = new TrailProblems()
  const places = new ChainPlaces(problems)
  const lines = { events: 0, decisions: 0 }
  const unchained = { events: 0, decisions: 0 }
  const begun = { events: false, decisions: false }
  /** Whether there is a line whose text was changed and that may have been the first of the log's first chain. */
  const doubtful = { events: false, decisions: false }
  let realm: string | undefined
  /** Links that were named before they were seen. */
  const references: { readonly at: LineAt; readonly boot: string; readonly reference: LinkReference }[] = []
  const firsts: { readonly at: LineAt; readonly boot: string; readonly before: number }[] = []
  const checkpoints: CheckpointAt[] = []
  const notes: string[] = []

  const take = (log: AuditLogName, text: string): void => {
    const line = ++lines[log]
    const event = readJsonObject(text) as unknown as SealedEvent | undefined
    const id = typeof event?.id === 'string' ? event.id : /"id":"([^"]*)"/.exec(text)?.[1]
    const at: LineAt = { log, line, id }
    if (event && event.chain === undefined) {
      if (!begun[log]) unchained[log]++
      else problems.add('inserted', at, undefined, undefined, 'a link (chain): only lines from before the first chain have none')
      return
    }
    begun[log] = true
    const link = linkOf(isJsonObject(event?.chain) ? event.chain : placeIn(text))
    if (!event || !link) {
      const { boot, seq } = link ?? { boot: undefined, seq: undefined }
      problems.add('changed', at, boot, seq, event ? 'a chain of boot, hash, log, prev and seq' : 'the JSON of an event')
      doubtful[log] = true
      if (link) places.place(link, at, link.hash)
      return
    }
    const { boot, seq, hash, prev } = link
    const { chain, ...told } = event
    const sealed = seal(told, { boot, log: chain.log, prev, seq })
    if (sealed.text !== text) {
      const other = `an event whose hash is ${hash}; what is there has ${sealed.hash}`
      problems.add('changed', at, boot, seq, sealed.hash === hash ? 'the canonical form (RFC 8785) of what it says' : other)
      places.place(link, at, sealed.hash)
      doubtful[log] ||= seq === 1
      return
    }
    if (chain.log !== log) {
      problems.add('inserted', at, boot, seq, `a line of the log ${log}: this one is of ${chain.log}`)
      return
    }
    if (!places.place(link, at, undefined)) return
    if (told.type === 'audit_started' && seq === 1) begin(told, boot, prev, at)
    else if (seq === 1 || told.type === 'audit_started')
      problems.add('inserted', at, boot, seq, 'audit_started as the first event of each chain, and nowhere else')
    if (told.type === 'audit_checkpoint') checkpoints.push({ at, boot, seq, detail: told.detail })
  }

  /** What the first event of a chain names must have been there already. */
  const begin = (event: Pick<SealedEvent, 'realm' | 'detail'>, boot: string, prev: string, at: LineAt): void => {
    const started = readStarted(event.detail)
    realm ??= event.realm
    if (!started) {
      problems.add('inserted', at, boot, 1, 'what the chain resumes, in the detail of audit_started')
      return
    }
    const { resumes, heads, before } = started
    if (realm !== event.realm) problems.add('inserted', at, boot, 1, `a chain of the realm ${realm}: this one is of ${event.realm}`)
    const follows = resumes?.hash ?? noHash
    if (prev !== follows) problems.add('changed', at, boot, 1, `prev to be ${follows}, the hash of what it resumes; it is ${prev}`)
    if (!resumes) firsts.push({ at, boot, before })
    for (const reference of resumes ? [resumes, ...heads] : heads)
      if (places.get(reference.boot)?.get(reference.seq) !== reference.hash) references.push({ at, boot, reference })
  }

  /** The checkpoints that may be believed, all in one. */
  const believed = () => {
    const cut = new Map<string, LinkReference>()
    const linkless = { events: 0, decisions: 0 }
    const shortened = new Set<AuditLogName>()
    const newest = new Map(checkpoints.map((each) => [each.at.log, each]))
    let unseen = false
    for (const each of checkpoints) {
      const { at, boot, seq, detail } = each
      const wrong = (expected: string) => problems.add('checkpoint', at, boot, seq, expected)
      const jws = signatureOf(detail)
      const checkpoint = readCheckpoint(detail)
      const verdict = judge && (jws === undefined ? 'unsigned' : judge(jws))
      if (!checkpoint || checkpoint.log !== at.log || checkpoint.realm !== (realm ?? checkpoint.realm))
        wrong(`a checkpoint of the log ${at.log} of this realm`)
      else if (verdict === 'bad') wrong('a good signature of the issuer')
      else if (verdict === 'unsigned') wrong('a signature of the issuer; this checkpoint has none')
      else if (verdict === 'unknown_key') {
        // Keys go; what an older one says, the newest says again.
        if (each === newest.get(at.log)) wrong('a signature by one of the keys given, for this is the newest checkpoint')
      } else {
        unseen ||= verdict === undefined
        shortened.add(at.log)
        linkless[at.log] = Math.max(linkless[at.log], checkpoint.unchained)
        for (const chain of checkpoint.chains) if (chain.seq > (cut.get(chain.boot)?.seq ?? 0)) cut.set(chain.boot, chain)
      }
    }
    if (unseen) notes.push('the signatures of checkpoints were not looked at: no keys were given')
    return { cut, linkless, shortened }
  }

  const finish = (): VerificationResult => {
    const { cut, linkless, shortened } = believed()
    places.finish(cut)
    const look = (reference: LinkReference, at: LineAt | undefined, who: string): void => {
      const { boot, seq, hash } = reference
      const end = cut.get(boot)
      const chain = places.get(boot)
      const found = chain?.get(seq)
      const link = `link ${seq} of ${boot} with the hash ${hash}`
      if (found === hash) {
        if (at) problems.add('reordered', at, boot, seq, `${link} before this line, for ${who} names it`)
      } else if (found !== undefined) problems.add(at ? 'changed' : 'anchor', at, boot, seq, `${link}, which ${who} names; it has ${found}`)
      else if (end && (end.seq > seq || (end.seq === seq && end.hash === hash))) {
        if (!at) notes.push(`${link} was removed by retention: ${who} cannot be compared with it any more`)
      } else {
        const last = Math.max(chain?.last ?? 0, end?.seq ?? 0)
        const from = last < seq ? last + 1 : seq
        const missing = `${linksOf(from, seq)} of ${boot}, for ${who} names ${link}`
        // Checkpoints forget chains that ended long ago: whether the anchor is as old only its keeper knows.
        const old =
          !at && last === 0 && shortened.size > 0 ? '; or it is an anchor from before what is kept, which shows nothing any more' : ''
        problems.add('truncated', at, boot, from, missing + old)
      }
    }
    for (const { at, boot, reference } of references) look(reference, at, `the chain ${boot}`)
    for (const anchor of anchors) look(anchor, undefined, 'the anchor')
    for (const { at, boot, before } of firsts) {
      const [seen, removed] = [unchained[at.log], linkless[at.log]]
      // A removal that was interrupted leaves some lines that its checkpoint counts.
      if (seen <= before && seen + removed >= before) continue
      const expected = `${before} lines without a link before the first chain; there are ${seen}`
      problems.add(seen > before ? 'inserted' : 'removed', at, boot, 1, expected)
    }
    for (const log of auditLogs) {
      const count = unchained[log]
      if (count === 0) continue
      const [lines, were] = count === 1 ? ['line', 'is'] : ['lines', 'are']
      const whether = count === 1 ? 'it was' : 'they were'
      notes.push(`${count} ${lines} of ${log} ${were} from before the chain: nothing shows whether ${whether} changed`)
      // What was removed is the oldest: where the first chain has lost its beginning, nothing from before it can be left.
      if (begun[log] && shortened.has(log) && !doubtful[log] && !firsts.some(({ at }) => at.log === log))
        problems.add(
          'inserted',
          { log, line: 1, id: undefined },
          undefined,
          undefined,
          'a link (chain): what was before the chain has been removed',
        )
    }
    return { problems: problems.list(), more: problems.more, notes, lines, heads: places.heads() }
  }

  return { take, finish }
}

const isHash = (value: unknown): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)

function linkOf(chain: Readonly<Record<string, unknown>>): (LinkReference & { readonly prev: string }) | undefined {
  const { boot, seq, hash, prev } = chain
  const whole = typeof boot === 'string' && Number.isSafeInteger(seq) && Number(seq) > 0
  return whole && isHash(hash) && isHash(prev) ? { boot, seq: Number(seq), hash, prev } : undefined
}

/** What a line that is no JSON still lets see of its place. */
function placeIn(text: string): Readonly<Record<string, unknown>> {
  const [, boot, hash, prev, seq] = /"boot":"([^"]*)","hash":"([^"]*)","log":"[^"]*","prev":"([^"]*)","seq":(\d+)\}/.exec(text) ?? []
  return { boot, hash, prev, seq: Number(seq) }
}
