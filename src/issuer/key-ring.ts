import type { KeyInfo } from '../core/issuer.ts'
import type { JsonObject } from '../core/json.ts'
import type { ChangeFeed, KeyStore, StoredKey } from '../core/ports.ts'
import type { KeyAnswer } from '../core/verification-keys.ts'
import { due, type MakeKey, type RotationTimes, rotated } from './rotation.ts'
import { createKey, type LoadedKey, load, type PublishedKey, signCompact } from './signing-key.ts'

export interface KeyRingOptions extends RotationTimes {
  /** Where replicas share the keys; decrypts and encrypts by itself where that is configured. */
  readonly store: KeyStore
  readonly feed: ChangeFeed
  /** How keys of this ring are made; ES256 unless given. */
  readonly make?: MakeKey
  /** Milliseconds between looks at the store, should a change not have been told; 30 s unless given. */
  readonly reloadEveryMs?: number
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Told where a reload or a rotation on the clock failed; the keys in memory stay in use. */
  readonly fault?: (error: unknown) => void
}

/** The issuer's own keys, in memory: signing and looking up never wait. */
export interface KeyRing {
  /** A JWS in compact serialization by the key that signs now. 20 µs, at once. */
  readonly sign: (payload: JsonObject, typ: string) => string
  /** For the validator of our own tokens. */
  readonly find: (kid: string | undefined, alg: string) => KeyAnswer
  readonly jwks: () => { readonly keys: readonly PublishedKey[] }
  readonly list: () => readonly KeyInfo[]
  /**
   * Puts a new key in the ring; it signs after `publish_before`, or at once with `now`. A key that is already
   * waiting to sign is not doubled: it is the answer, or with `now` it begins.
   * @returns the kid of the key that signs next
   * @throws {Unavailable} where state cannot be had
   */
  readonly rotate: (options?: { readonly now?: boolean }) => Promise<string>
  /** @throws {Unavailable} */
  readonly reload: () => Promise<void>
  readonly close: () => void
}

/** A lost race is run again; more than this many in a row is no race. */
const maxAttempts = 8

/**
 * Loads the keys, making the first one where there is none; of several replicas that start at once one wins,
 * and the others load its key.
 * @throws what the store throws: Unavailable, or that stored keys cannot be decrypted
 */
export async function openKeyRing(options: KeyRingOptions): Promise<KeyRing> {
  const { store, clock = Date.now, make = createKey } = options
  const seconds = (): number => Math.floor(clock() / 1000)
  const onTheClock = (keys: readonly StoredKey[]) => due(keys, clock(), options, make)
  let ring: readonly LoadedKey[] = []

  const take = (stored: readonly StoredKey[]): void => {
    const known = new Map(ring.map((key) => [key.stored.kid, key]))
    ring = [...stored].sort((a, b) => a.activeAt - b.activeAt || a.createdAt - b.createdAt).map((key) => load(key, known.get(key.kid)))
  }

  /** Changes the stored set by compare and swap, again from what is there where another replica was quicker. */
  const change = async (next: (keys: readonly StoredKey[]) => Promise<readonly StoredKey[] | undefined>): Promise<void> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const stored = await store.list()
      const wanted = await next(stored)
      if (wanted === undefined) return take(stored)
      const seen = stored.map((key) => key.kid)
      if (await store.replace(seen, wanted)) return take(wanted)
    }
    throw new Error(`the signing keys changed under ${maxAttempts} attempts to write them`)
  }

  // One at a time, so that what was read first is never taken last.
  let tail: Promise<void> = Promise.resolve()
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    tail = tail.then(work, work)
    return tail
  }

  let waiting = false
  const reloadQuietly = (): void => {
    // A reload that has not begun will see this change too; one that has may not.
    if (waiting) return
    waiting = true
    const begin = (): Promise<void> => {
      waiting = false
      return change(onTheClock)
    }
    inTurn(begin).catch((error: unknown) => options.fault?.(error))
  }

  const signing = (): LoadedKey => {
    const at = seconds()
    // Some key is always there; of those in force the one that came last.
    return ring.findLast((key) => key.stored.activeAt <= at) ?? ring[0]!
  }

  const infoOf = ({ stored }: LoadedKey): KeyInfo => ({
    kid: stored.kid,
    algorithm: stored.algorithm,
    createdAt: stored.createdAt,
    activeAt: stored.activeAt,
    retiredAt: stored.retiredAt,
    state: stored.kid === signing().stored.kid ? 'signing' : stored.activeAt > seconds() ? 'published' : 'retired',
  })

  await inTurn(() => change(onTheClock))
  const unsubscribe = options.feed.subscribe((told) => {
    if (told.kind === 'keys') reloadQuietly()
  })
  const timer = setInterval(reloadQuietly, options.reloadEveryMs ?? 30_000).unref()

  return {
    sign: (payload, typ) => signCompact(signing(), payload, typ),
    find: (kid, alg) => {
      const key = ring.find(({ stored }) => stored.kid === kid && stored.algorithm === alg)
      return key ? { kind: 'key', key: key.publicKey } : { kind: 'unknown' }
    },
    jwks: () => ({ keys: ring.map((key) => key.published) }),
    list: () => ring.map(infoOf),
    rotate: async ({ now = false } = {}) => {
      await inTurn(() => change((keys) => rotated(keys, now, clock(), options, make)))
      return ring.at(-1)!.stored.kid
    },
    reload: () => inTurn(() => change(onTheClock)),
    close: () => {
      clearInterval(timer)
      unsubscribe()
    },
  }
}
