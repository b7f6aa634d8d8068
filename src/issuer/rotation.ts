import type { Soon, StoredKey } from '../core/ports.ts'

/** Makes a key. @param createdAt and activeAt in seconds since the epoch */
export type MakeKey = (createdAt: number, activeAt: number) => Soon<StoredKey>

/** When keys come and go. */
export interface RotationTimes {
  /** Milliseconds that a new key is published before it signs (`publish_before`): what upstreams may cache a JWKS for. */
  readonly publishBeforeMs: number
  /** Milliseconds that one key signs (`rotate_every`). */
  readonly rotateEveryMs: number
  /** Milliseconds that a key is still published after it signed last: the longest life of a token, and the skew. */
  readonly keepForMs: number
}

const newest = (keys: readonly StoredKey[]): StoredKey | undefined =>
  keys.reduce<StoredKey | undefined>((last, key) => (last === undefined || key.activeAt >= last.activeAt ? key : last), undefined)

/**
 * The keys with a next one, which signs after `publish_before`, or at once with `now`. A key that is already waiting to
 * sign is not doubled: with `now` it begins.
 * @param at milliseconds since the epoch
 * @returns undefined where nothing is to change
 */
export async function rotated(
  keys: readonly StoredKey[],
  now: boolean,
  at: number,
  times: RotationTimes,
  make: MakeKey,
): Promise<readonly StoredKey[] | undefined> {
  const seconds = Math.floor(at / 1000)
  const last = newest(keys)
  const waiting = last !== undefined && last.activeAt > seconds ? last : undefined
  if (waiting && !now) return undefined
  const signsFrom = now || !last ? seconds : seconds + Math.ceil(times.publishBeforeMs / 1000)
  const next = waiting ? { ...waiting, activeAt: seconds } : await make(seconds, signsFrom)
  const others = keys.filter((key) => key.kid !== next.kid)
  return [
    ...others.map((key) => (key.retiredAt === undefined || key.retiredAt > next.activeAt ? { ...key, retiredAt: next.activeAt } : key)),
    next,
  ]
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
  make: MakeKey,
): Promise<readonly StoredKey[] | undefined> {
  const last = newest(keys)
  if (!last || at >= last.activeAt * 1000 + times.rotateEveryMs - times.publishBeforeMs) return rotated(keys, false, at, times, make)
  const kept = keys.filter((key) => key.retiredAt === undefined || key.retiredAt * 1000 + times.keepForMs > at)
  return kept.length < keys.length ? kept : undefined
}
