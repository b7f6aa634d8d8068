import type { KeyAlgorithm, Soon, StoredKey } from '../core/ports.ts'

/** Makes a key. @param createdAt and activeAt in seconds since the epoch */
export type MakeKey = (createdAt: number, activeAt: number) => Soon<StoredKey>

/** When keys come and go. */
export interface RotationTimes {
  /** Milliseconds that a new key is published before it signs (`publish_before`): what upstreams may cache a JWKS for. */
  readonly publishBeforeMs: number
  /** Milliseconds that one key signs (`rotate_every`); Infinity: another process makes the next one. */
  readonly rotateEveryMs: number
  /**
   * Milliseconds that a key is still published after it signed last: the longest life of a token, and the skew. Each key keeps
   * the longest that was in force while it could sign. Infinity: another process takes old ones away.
   */
  readonly keepForMs: number
  /**
   * Milliseconds that a new key waits even when it is to sign at once: what other replicas take to hear of it, so that none
   * refuses what it signs. 0 unless given.
   */
  readonly settleMs?: number
}

/** Keys of which one signs at a time, the next one after it. */
export interface Line {
  /** How the next key is made; undefined where nobody here wants one. */
  readonly make: MakeKey | undefined
  /** The algorithm that the newest key must have: another one's successor is made at once. */
  readonly algorithm?: KeyAlgorithm | undefined
  /** Whether the very first key signs at once: nobody can have cached a key set without it. */
  readonly fresh: boolean
}

const endOf = ({ retiredAt = Number.MAX_SAFE_INTEGER }: StoredKey): number => retiredAt

/** The order in which keys sign; of two that begin in one second the one that goes on is the later one. */
export const bySigning = (a: StoredKey, b: StoredKey): number =>
  a.activeAt - b.activeAt || endOf(a) - endOf(b) || a.createdAt - b.createdAt || (a.kid < b.kid ? -1 : 1)

const newest = (keys: readonly StoredKey[]): StoredKey | undefined => [...keys].sort(bySigning).at(-1)

/**
 * The keys with a next one, which signs after `publish_before`, or with `now` as soon as all replicas know it. A key that is already waiting to
 * sign is not doubled: with `now` it begins.
 * @param at milliseconds since the epoch
 * @returns undefined where nothing is to change
 */
export async function rotated(
  keys: readonly StoredKey[],
  now: boolean,
  at: number,
  times: RotationTimes,
  { make, algorithm, fresh }: Line,
): Promise<readonly StoredKey[] | undefined> {
  if (!make) return undefined
  const seconds = Math.floor(at / 1000)
  const last = newest(keys)
  const waiting = last !== undefined && last.activeAt > seconds && (algorithm ?? last.algorithm) === last.algorithm ? last : undefined
  if (waiting && !now) return undefined
  const settled = times.settleMs === undefined ? seconds : Math.ceil((at + times.settleMs) / 1000)
  const signsFrom = !last && fresh ? seconds : now ? settled : seconds + Math.ceil(times.publishBeforeMs / 1000)
  // One that waits has been heard of since it was made.
  const begins = (key: StoredKey): number => Math.max(seconds, Math.min(key.activeAt, key.createdAt + settled - seconds))
  const next = waiting ? { ...waiting, activeAt: begins(waiting) } : await make(seconds, signsFrom)
  const others = keys.filter((key) => key.kid !== next.kid)
  // One that would begin after it never signs: at the same instant the one that goes on is the later one.
  const followed = (key: StoredKey): StoredKey => ({ ...key, activeAt: Math.min(key.activeAt, next.activeAt), retiredAt: next.activeAt })
  const all = [...others.map((key) => (endOf(key) > next.activeAt ? followed(key) : key)), next]
  return kept(all, at, times) ?? all
}

/**
 * What the clock alone demands: the first key, the next one in time, and old ones out when nothing they signed is valid.
 * @param at milliseconds since the epoch
 * @returns undefined where nothing is to change
 */
export async function due(
  keys: readonly StoredKey[],
  at: number,
  times: RotationTimes,
  line: Line,
): Promise<readonly StoredKey[] | undefined> {
  const last = newest(keys)
  if (line.make) {
    const next = !last || at >= last.activeAt * 1000 + times.rotateEveryMs - times.publishBeforeMs
    if (next || (line.algorithm ?? last.algorithm) !== last.algorithm) return rotated(keys, false, at, times, line)
  } else if (last && last.retiredAt === undefined && at >= last.activeAt * 1000 + times.rotateEveryMs) {
    // Nobody makes its successor any more. Until now it may have signed, however long it should have.
    const retired = { ...last, retiredAt: Math.floor(at / 1000) }
    const all = keys.map((key) => (key === last ? retired : key))
    return kept(all, at, times) ?? all
  }
  return kept(keys, at, times)
}

/**
 * The keys without one of them, whose tokens are refused from now on. Where it waited to sign, the one before it goes on.
 * @param at milliseconds since the epoch
 * @returns `signs` where it is the one that signs
 */
export function without(keys: readonly StoredKey[], kid: string, at: number): readonly StoredKey[] | 'signs' {
  const seconds = Math.floor(at / 1000)
  const sorted = [...keys].sort(bySigning)
  const signing = sorted.findLast(({ activeAt }) => activeAt <= seconds) ?? sorted[0]
  if (signing?.kid === kid) return 'signs'
  const rest = sorted.filter((key) => key.kid !== kid)
  const last = rest.at(-1)
  if (last?.retiredAt === undefined || last.retiredAt <= seconds) return rest
  const { retiredAt: _, ...going } = last
  return [...rest.slice(0, -1), going]
}

/** Has keys that may sign stay as long as their tokens live, and lets those go that stayed long enough; undefined: as they are. */
function kept(keys: readonly StoredKey[], at: number, { keepForMs }: RotationTimes): readonly StoredKey[] | undefined {
  if (!Number.isFinite(keepForMs)) return undefined
  const keepFor = Math.ceil(keepForMs / 1000)
  const after = keys.flatMap((key) => {
    if (key.retiredAt === undefined || key.retiredAt * 1000 > at) return (key.keepFor ?? 0) < keepFor ? [{ ...key, keepFor }] : [key]
    return (key.retiredAt + (key.keepFor ?? keepFor)) * 1000 > at ? [key] : []
  })
  return after.length < keys.length || after.some((key, i) => key !== keys[i]) ? after : undefined
}
