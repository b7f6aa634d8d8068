import { labelOf } from './audit-chain.ts'
import { type AuditLogName, auditLogs } from './audit-log.ts'
import { isJsonObject, type JsonObject, readJsonObject } from './json.ts'

/** `typ` of the JWS in which a checkpoint is signed. */
export const checkpointType = 'postern-audit-checkpoint+jwt'

/** Seconds that a chain may rest before its writer begins another: one that was cut off for longer never goes on. */
export const chainRest = 86_400

/** How far a chain was cut. */
export interface CutChain {
  readonly boot: string
  /** The last link that was removed. */
  readonly seq: number
  readonly hash: string
  /** When it was written, seconds since the epoch. */
  readonly at: number
  /** The checkpoint event that removed it. */
  readonly by: string
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
   * @param id of the event that holds it
   * @param now milliseconds since the epoch
   */
  readonly checkpoint: (before: Checkpoint | undefined, place: Pick<Checkpoint, 'realm' | 'log'>, id: string, now: number) => Checkpoint
}

export function createCut(): Cut {
  const chains = new Map<string, Omit<CutChain, 'by'>>()
  /** Checkpoints that are removed with it. */
  const passed = new Set<string>()
  let lines = 0
  let unchained = 0
  let until = ''
  return {
    take: (text) => {
      const { link, time, type } = labelOf(text)
      lines++
      until = time
      if (!link) unchained++
      else if (link.seq > (chains.get(link.boot)?.seq ?? 0))
        chains.set(link.boot, { ...link, at: Math.floor(Date.parse(time) / 1000) || 0 })
      if (type === 'audit_checkpoint') passed.add(String(readJsonObject(text)?.['id']))
    },
    lines: () => lines,
    until: () => until,
    checkpoint: (before, { realm, log }, id, now) => {
      const iat = Math.floor(now / 1000)
      // Nothing that is kept names a chain which has rested since before a checkpoint that is itself removed: it need not be remembered.
      const kept = (before?.chains ?? []).filter(({ boot, by, at }) => !chains.has(boot) && !(passed.has(by) && at + 2 * chainRest < iat))
      const cut = [...chains.values()].map(({ boot, seq, hash, at }) => ({ boot, seq, hash, at, by: id }))
      return {
        realm,
        log,
        iat,
        removed: (before?.removed ?? 0) + lines,
        unchained: (before?.unchained ?? 0) + unchained,
        chains: [...kept, ...cut],
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
  const { boot, seq, hash, at, by } = value as Partial<CutChain>
  return typeof boot === 'string' &&
    Number.isSafeInteger(seq) &&
    typeof hash === 'string' &&
    Number.isSafeInteger(at) &&
    typeof by === 'string'
    ? { boot, seq: seq!, hash, at: at!, by }
    : undefined
}
