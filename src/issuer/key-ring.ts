import type { KeyInfo } from '../core/issuer.ts'
import type { JsonObject } from '../core/json.ts'
import { type ChangeFeed, type KeyAlgorithm, type KeyStore, keyVersion, type StoredKey } from '../core/ports.ts'
import type { KeyAnswer } from '../core/verification-keys.ts'
import { bySigning, due, type Line, type MakeKey, type RotationTimes, rotated, without } from './rotation.ts'
import { extraPrefix, keyMaker, type LoadedKey, load, type PublishedKey, prefixOf, signCompact } from './signing-key.ts'

/** What of a key ring can change while it is open. */
export interface KeyPlan extends RotationTimes {
  /** What keys are made for; ES256 unless given. */
  readonly algorithm?: KeyAlgorithm
  /** Other algorithms that some tokens are signed with, each by keys of its own. */
  readonly also?: readonly KeyAlgorithm[]
}

export interface KeyRingOptions extends KeyPlan {
  /** Where replicas share the keys; decrypts and encrypts by itself where that is configured. */
  readonly store: KeyStore
  readonly feed: Pick<ChangeFeed, 'subscribe'>
  /** How keys of this ring are made, where not simply by their algorithm. */
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
  /**
   * A JWS in compact serialization by the key that signs now. 20 µs, at once.
   * @param algorithm one of `also`: until its first key signs, and where it is none of them, the key of all other tokens does
   */
  readonly sign: (payload: JsonObject, typ: string, algorithm?: KeyAlgorithm) => string
  /** For the validator of our own tokens. */
  readonly find: (kid: string | undefined, alg: string) => KeyAnswer
  readonly jwks: () => { readonly keys: readonly PublishedKey[] }
  readonly list: () => readonly KeyInfo[]
  /**
   * Puts a new key in the ring, for each algorithm that signs; it signs after `publish_before`, or with `now` after
   * `settleMs`. A key
   * that is already waiting to sign is not doubled: it is the answer, or with `now` it begins.
   * @returns the kid of the key that signs next
   * @throws {Unavailable} where state cannot be had
   */
  readonly rotate: (options?: { readonly now?: boolean }) => Promise<string>
  /**
   * Takes a key away, and what it signed is refused: for one that may have leaked. One that signs has to be followed first.
   * @throws {Unavailable}
   */
  readonly remove: (kid: string) => Promise<'removed' | 'unknown' | 'signs'>
  /**
   * Takes other settings. Where the algorithm is another, its first key is published before it signs, as in a rotation; what
   * the old one signed can still be verified. @throws {Unavailable} and then it is done with the next look at the store
   */
  readonly configure: (plan: KeyPlan) => Promise<void>
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
  const { store, clock = Date.now } = options
  const seconds = (): number => Math.floor(clock() / 1000)
  let plan: KeyPlan = options
  /**
   * Whether keys of another algorithm are to be followed by our own. Done once after the settings were read: of two replicas
   * that disagree for a while neither undoes the other's change again and again.
   */
  let converting = true
  let ring: readonly LoadedKey[] = []

  const lineOf = (prefix: string, fresh: boolean): Line => {
    const { algorithm = 'ES256', also = [], rotateEveryMs } = plan
    const converts = converting && Number.isFinite(rotateEveryMs)
    if (prefix === '' && options.make) return { make: options.make, fresh }
    if (prefix === '') return { make: keyMaker(algorithm), algorithm: converts ? algorithm : undefined, fresh }
    const extra = also.find((one) => extraPrefix(one) === prefix)
    return { make: extra && keyMaker(extra, prefix), fresh }
  }

  /** Changes the keys of each line by themselves; undefined where nothing is to change. */
  const eachLine = async (
    keys: readonly StoredKey[],
    change: (own: readonly StoredKey[], line: Line) => Promise<readonly StoredKey[] | undefined>,
  ): Promise<readonly StoredKey[] | undefined> => {
    const all: StoredKey[] = []
    let changed = false
    for (const prefix of new Set(['', ...(plan.also ?? []).map(extraPrefix), ...keys.map(({ kid }) => prefixOf(kid))])) {
      const own = keys.filter(({ kid }) => prefixOf(kid) === prefix)
      const next = await change(own, lineOf(prefix, keys.length === 0))
      if (next) changed = true
      all.push(...(next ?? own))
    }
    return changed ? all : undefined
  }
  const onTheClock = (keys: readonly StoredKey[]) => eachLine(keys, (own, line) => due(own, clock(), plan, line))

  const take = (stored: readonly StoredKey[]): void => {
    const known = new Map(ring.map((key) => [key.stored.kid, key]))
    ring = [...stored].sort(bySigning).map((key) => load(key, known.get(key.kid)))
  }

  /** Changes the stored set by compare and swap, again from what is there where another replica was quicker. */
  const change = async (next: (keys: readonly StoredKey[]) => Promise<readonly StoredKey[] | undefined>): Promise<void> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const stored = await store.list()
      const wanted = await next(stored)
      if (wanted === undefined) return take(stored)
      if (await store.replace(stored.map(keyVersion), wanted)) return take(wanted)
    }
    throw new Error(`the signing keys changed under ${maxAttempts} attempts to write them`)
  }

  // One at a time, so that what was read first is never taken last.
  let tail: Promise<void> = Promise.resolve()
  const inTurn = (work: () => Promise<void>): Promise<void> => {
    tail = tail.then(work, work)
    return tail
  }

  const keepTime = async (): Promise<void> => {
    await change(onTheClock)
    converting = false
  }

  let waiting = false
  const reloadQuietly = (): void => {
    // A reload that has not begun will see this change too; one that has may not.
    if (waiting) return
    waiting = true
    const begin = (): Promise<void> => {
      waiting = false
      return keepTime()
    }
    inTurn(begin).catch((error: unknown) => options.fault?.(error))
  }

  const inForce = (prefix: string): LoadedKey | undefined => {
    const at = seconds()
    return ring.findLast(({ stored }) => stored.activeAt <= at && prefixOf(stored.kid) === prefix)
  }
  // Some key is always there; of those in force the one that came last.
  const signing = (): LoadedKey => inForce('') ?? ring.find(({ stored }) => prefixOf(stored.kid) === '') ?? ring[0]!
  const signingBy = (algorithm: KeyAlgorithm | undefined): LoadedKey => {
    const wanted = algorithm !== undefined && plan.also?.includes(algorithm) ? inForce(extraPrefix(algorithm)) : undefined
    // One that ended while nobody wanted its algorithm is about to go: what it signed now would outlive it.
    const goesOn = wanted && !(wanted.stored.retiredAt !== undefined && wanted.stored.retiredAt <= seconds())
    return goesOn ? wanted : signing()
  }

  const infoOf = ({ stored, pem }: LoadedKey): KeyInfo => {
    const { kid, algorithm, createdAt, activeAt, retiredAt } = stored
    const signs = [signing(), ...(plan.also ?? []).map(signingBy)].some((key) => key.stored.kid === kid)
    const state = signs ? 'signing' : activeAt > seconds() ? 'published' : 'retired'
    return { kid, algorithm, createdAt, activeAt, retiredAt, state, publicKey: pem }
  }

  await inTurn(keepTime)
  const unsubscribe = options.feed.subscribe((told) => {
    if (told.kind === 'keys') reloadQuietly()
  })
  const timer = setInterval(reloadQuietly, options.reloadEveryMs ?? 30_000).unref()

  return {
    sign: (payload, typ, algorithm) => signCompact(signingBy(algorithm), payload, typ),
    find: (kid, alg) => {
      const key = ring.find(({ stored }) => stored.kid === kid && stored.algorithm === alg)
      return key ? { kind: 'key', key: key.publicKey } : { kind: 'unknown' }
    },
    jwks: () => ({ keys: ring.map((key) => key.published) }),
    list: () => ring.map(infoOf),
    rotate: async ({ now = false } = {}) => {
      await inTurn(() => change((keys) => eachLine(keys, (own, line) => rotated(own, now, clock(), plan, line))))
      return ring.findLast(({ stored }) => prefixOf(stored.kid) === '')!.stored.kid
    },
    remove: async (kid) => {
      let outcome: 'removed' | 'unknown' | 'signs' = 'unknown'
      const removed = (own: readonly StoredKey[]): readonly StoredKey[] | undefined => {
        if (!own.some((key) => key.kid === kid)) return undefined
        const rest = without(own, kid, clock())
        outcome = rest === 'signs' ? rest : 'removed'
        return rest === 'signs' ? undefined : rest
      }
      await inTurn(() =>
        change((keys) => {
          outcome = 'unknown'
          return eachLine(keys, async (own) => removed(own))
        }),
      )
      return outcome
    },
    configure: (next) => {
      plan = next
      converting = true
      return inTurn(keepTime)
    },
    reload: () => inTurn(keepTime),
    close: () => {
      clearInterval(timer)
      unsubscribe()
    },
  }
}
