import { labelOf } from './audit-chain.ts'
import { type AuditLogName, auditLogs } from './audit-log.ts'
import { isJsonObject, type JsonObject, readJsonObject } from './json.ts'

/** `typ` of the JWS in which a checkpoint is signed. */
export const checkpointType = 'postern-audit-checkpoint+jwt'

/** Seconds that a chain may rest before its writer begins another: one that was cut off for longer never goes on. */
export const chainRest = 86_400

/** Seconds after a checkpoint until nobody sees any more what it removed. */
const settled = 3600

const secondsOf = (time: string): number => Math.floor(Date.parse(time) / 1000) || 0

/** How far a chain was cut. */
export interface CutChain {
  readonly boot: string
  /** The last link that was removed. */
  readonly seq: number
  readonly hash: string
  /** When it was written, seconds since the epoch. */
  readonly at: number
  /** When it was removed, seconds since the epoch. */
  readonly cut: number
}

/** What a checkpoint says: everything of earlier ones that still matters, so that only the newest has to be trusted. */
export interface Checkpoint {
  readonly realm: string
  readonly log: AuditLogName
  /** Seconds since the epoch. */
  readonly iat: number
  /** Lines that were removed since the beginning. */
  readonly removed: number
  /** Of those, lines from before the chain. */
  readonly unchained: number
  readonly chains: readonly CutChain[]
}

/** What a checkpoint is to remove: gathered line by line, in stored order. */
export interface Cut {
  readonly take: (text: string) => void
  readonly lines: () => number
  /** Time of the newest of its lines. */
  readonly until: () => string
  /**
   * The checkpoint that says so.
   * @param before the newest checkpoint of this log
   * @param now milliseconds since the epoch
   */
  readonly checkpoint: (before: Checkpoint | undefined, place: Pick<Checkpoint, 'realm' | 'log'>, now: number) => Checkpoint
}

export function createCut(): Cut {
  const chains = new Map<string, Omit<CutChain, 'cut'>>()
  let lines = 0
  let unchained = 0
  let until = ''
  return {
    take: (text) => {
      const { link, time } = labelOf(text)
      lines++
      until = time
      if (!link) unchained++
      else if (link.seq > (chains.get(link.boot)?.seq ?? 0)) chains.set(link.boot, { ...link, at: secondsOf(time) })
    },
    lines: () => lines,
    until: () => until,
    checkpoint: (before, { realm, log }, now) => {
      const iat = Math.floor(now / 1000)
      // A clock that was ahead for a while must not make the others look as if they had rested.
      const newest = Math.min(secondsOf(until), iat)
      // A chain that has rested so long does not go on, and whatever named it has been removed with it: it need not be remembered.
      const over = ({ at, cut }: CutChain): boolean => newest > at + 2 * chainRest && newest > cut + settled
      const kept = (before?.chains ?? []).filter((chain) => !chains.has(chain.boot) && !over(chain))
      const gone = [...chains.values()].map((chain) => ({ ...chain, cut: iat }))
      return {
        realm,
        log,
        iat,
        removed: (before?.removed ?? 0) + lines,
        unchained: (before?.unchained ?? 0) + unchained,
        chains: [...kept, ...gone],
      }
    },
  }
}

/** The JWS of a checkpoint event; undefined where nobody signed it, and then its detail holds the checkpoint itself. */
export const signatureOf = (detail: JsonObject | undefined): string | undefined =>
  typeof detail?.['signature'] === 'string' ? detail['signature'] : undefined

/** Reads the checkpoint in a checkpoint event, without looking at who signed it. */
export function readCheckpoint(detail: JsonObject | undefined): Checkpoint | undefined {
  const jws = signatureOf(detail)
  const payload = jws === undefined ? detail?.['checkpoint'] : readJsonObject(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString())
  if (!isJsonObject(payload)) return undefined
  const { realm, log, iat, removed, unchained, chains } = payload
  const name = auditLogs.find((each) => each === log)
  const numbers = [iat, removed, unchained].every((value) => Number.isSafeInteger(value))
  if (name === undefined || typeof realm !== 'string' || !numbers || !Array.isArray(chains)) return undefined
  const cut = chains.map(readCutChain)
  if (!cut.every((chain) => chain !== undefined)) return undefined
  return { realm, log: name, iat: Number(iat), removed: Number(removed), unchained: Number(unchained), chains: cut }
}

function readCutChain(value: unknown): CutChain | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { boot, seq, hash, at, cut } = value as Partial<CutChain>
  const numbers = [seq, at, cut].every((each) => Number.isSafeInteger(each))
  return typeof boot === 'string' && typeof hash === 'string' && numbers ? { boot, seq: seq!, hash, at: at!, cut: cut! } : undefined
}
