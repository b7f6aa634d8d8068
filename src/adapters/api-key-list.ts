import { type ApiKeyLookup, type ApiKeyRecord, type ApiKeyStore, apiKeyEnd, apiKeyKept, type ChangeFeed } from '../core/ports.ts'
import { followLog } from './followed-log.ts'

const pruneMs = 3_600_000
/** Milliseconds between two notes of the same key's use. */
const noteEveryMs = 60_000
/** Milliseconds that uses are gathered before they are written. */
const gatherMs = 2000
/** Uses that wait while state does not answer; more are forgotten. */
const mostNotes = 100_000

export interface ApiKeyListOptions {
  readonly store: ApiKeyStore
  readonly feed: ChangeFeed
  /** Milliseconds without news after which nothing is found any more (`revocation.max_staleness`). */
  readonly maxStalenessMs: number
  /** Monotonic milliseconds: the clock of `ChangeFeed.heardAt`. */
  readonly clock?: () => number
  /** For tests: milliseconds that uses are gathered; 2 s. */
  readonly gatherMs?: number
}

/** All API keys of a realm, in memory. */
export interface ApiKeyList extends ApiKeyLookup {
  /** A new key, or one that is revoked: durable, and in force on this replica, when it resolves. @throws {Unavailable} */
  readonly put: (record: ApiKeyRecord) => Promise<void>
  /** Asks state where the id is not known here yet. @throws {Unavailable} */
  readonly byId: (id: string) => Promise<ApiKeyRecord | undefined>
  /** All of them, oldest first, those that ended not long ago among them. */
  readonly all: () => IterableIterator<ApiKeyRecord>
  /** When keys were last used, as far as replicas have told. @throws {Unavailable} */
  readonly lastUsed: (ids: readonly string[]) => Promise<ReadonlyMap<string, number>>
  /** Hears of each key that is revoked. @returns a function that ends it */
  readonly onRevoked: (listener: (key: ApiKeyRecord) => void) => () => void
  /** Keys in memory. */
  readonly size: () => number
  /** Whether it is known what is in force. */
  readonly trusted: () => boolean
  readonly close: () => Promise<void>
}

/**
 * API keys kept in memory, so that a check is one look-up. What was once heard to be revoked stays so, even where state has
 * forgotten it since (a failover may lose the last writes); a key that state has lost is in force no more.
 */
export async function openApiKeyList(options: ApiKeyListOptions): Promise<ApiKeyList> {
  const { store, feed, maxStalenessMs } = options
  const clock = options.clock ?? (() => performance.now())
  const byDigest = new Map<string, ApiKeyRecord>()
  const byId = new Map<string, ApiKeyRecord>()
  const listeners = new Set<(key: ApiKeyRecord) => void>()
  /** Roles, scopes and names are few and keys are many: each is kept once. */
  const shared = new Map<string, readonly string[] | string>()

  /** Ids that came since the log began anew. */
  let seen: Set<string> | undefined

  function share<T extends readonly string[] | string>(value: T): T {
    const spelled = typeof value === 'string' ? value : JSON.stringify(value)
    const known = shared.get(spelled)
    if (known !== undefined && typeof known === typeof value) return known as T
    if (known === undefined) shared.set(spelled, value)
    return value
  }

  function add(record: ApiKeyRecord): void {
    seen?.add(record.id)
    const known = byId.get(record.id)
    // Of a key that is known, only its end may change, and only come nearer: whatever is told again changes nothing.
    if (known && (known.revokedAt !== undefined || (record.revokedAt === undefined && apiKeyEnd(record) >= apiKeyEnd(known)))) return
    const { id, digest, name, owner, createdAt, expiresAt, revokedAt } = record
    const [roles, scopes] = [share(record.roles), share(record.scopes)]
    const [validator, createdBy] = [share(record.validator), share(record.createdBy)]
    const kept: ApiKeyRecord = { id, digest, validator, name, owner, roles, scopes, createdAt, createdBy, expiresAt, revokedAt }
    if (known) byDigest.delete(known.digest)
    byId.set(id, kept)
    byDigest.set(digest, kept)
    if (revokedAt !== undefined) for (const listener of listeners) listener(kept)
  }

  /** When a key's use was last noted, milliseconds since the epoch. */
  const noted = new Map<string, number>()
  /** What is still to be written. */
  let notes = new Map<string, number>()
  let gathering: NodeJS.Timeout | undefined

  function drop(key: ApiKeyRecord): void {
    byId.delete(key.id)
    byDigest.delete(key.digest)
    noted.delete(key.id)
  }

  /** What state has lost, or somebody has taken out of it, is in force nowhere; that a key was revoked is remembered. */
  function dropUnseen(): void {
    if (seen) for (const key of byId.values()) if (!seen.has(key.id) && key.revokedAt === undefined) drop(key)
    seen = undefined
  }

  const begins = () => {
    seen = new Set()
  }
  const followed = await followLog({ log: store, feed, kind: 'api-keys', take: add, begins, ends: dropUnseen, clock })

  const pruning = setInterval(() => {
    const before = Date.now() / 1000 - apiKeyKept
    for (const key of byId.values()) {
      if (apiKeyEnd(key) < before) drop(key)
    }
    shared.clear()
  }, pruneMs)
  pruning.unref()

  async function write(): Promise<void> {
    gathering = undefined
    const uses = notes
    notes = new Map()
    try {
      await store.noteUsed(uses)
    } catch {
      // Best effort: they wait for the next use of any key.
      for (const [id, at] of uses) if (!notes.has(id) && notes.size < mostNotes) notes.set(id, at)
    }
  }

  const trusted = () => clock() - followed.wholeUntil() <= maxStalenessMs

  return {
    find: (digest) => (trusted() ? byDigest.get(digest) : 'unavailable'),
    used: (key, nowMs) => {
      if (nowMs - (noted.get(key.id) ?? Number.NEGATIVE_INFINITY) < noteEveryMs) return
      noted.set(key.id, nowMs)
      if (notes.size < mostNotes) notes.set(key.id, Math.floor(nowMs / 1000))
      gathering ??= setTimeout(() => void write(), options.gatherMs ?? gatherMs).unref()
    },
    put: async (record) => {
      await store.append(record)
      add(record)
    },
    byId: async (id) => {
      if (!byId.has(id)) await followed.catchUp()
      return byId.get(id)
    },
    all: () => byId.values(),
    lastUsed: async (ids) => {
      const found = new Map(await store.lastUsed(ids))
      for (const id of ids) {
        const at = notes.get(id)
        if (at !== undefined) found.set(id, Math.max(at, found.get(id) ?? 0))
      }
      return found
    },
    onRevoked: (listener) => {
      const own = (key: ApiKeyRecord) => listener(key)
      listeners.add(own)
      return () => void listeners.delete(own)
    },
    size: () => byId.size,
    trusted,
    close: async () => {
      followed.close()
      clearInterval(pruning)
      clearTimeout(gathering)
      if (notes.size > 0) await write()
    },
  }
}
