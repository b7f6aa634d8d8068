import { LRUCache } from 'lru-cache'
import {
  type Change,
  type ChangeFeed,
  feedTrustMs,
  type LabelReader,
  type LabelRecord,
  type LookedUp,
  type OwnerLookup,
  type Soon,
  Unavailable,
} from '../core/ports.ts'

/** Where labels are read from, and what tells of their changes. */
export interface LabelSource {
  readonly reader: LabelReader
  readonly feed: ChangeFeed
}

/** `ownership.cache` */
export interface NearCacheSettings {
  /** Resources kept of each source; a tenth as many unknown ones are remembered beside them. */
  readonly size: number
  readonly ttlMs: number
  readonly negativeTtlMs: number
  /** How long a copy may be served after it was last known to be true, while the feed is silent. */
  readonly maxStaleMs: number
}

export interface NearCacheOptions {
  /** By name under `sources`; undefined names Postern's own labels. */
  readonly sources: ReadonlyMap<string | undefined, LabelSource>
  readonly settings: NearCacheSettings
  /** Fetches under way at once before more are refused. */
  readonly mostFetches?: number
  /** Monotonic milliseconds: the clock of `ChangeFeed.heardAt`. */
  readonly clock?: () => number
}

/** Owner look-ups, kept near. */
export interface NearCache extends OwnerLookup {
  /** Resources kept, unknown ones included. */
  readonly size: () => number
  readonly close: () => void
}

interface Copy {
  readonly hit: LookedUp
  /** When it was asked for: it may be as old as that. */
  readonly askedAt: number
  readonly until: number
}

interface Fetch {
  readonly answer: Promise<LookedUp>
  /** false: something changed while it was under way, and what it brings may be what was before. */
  keep: boolean
}

interface Shelf extends LabelSource {
  readonly known: LRUCache<string, Copy>
  /** Apart, so that probing for ids that do not exist cannot push out those that do. */
  readonly unknown: LRUCache<string, Copy>
  readonly fetches: Map<string, Fetch>
}

// Kinds of resource hold no colon (resourceKind), so that a pair has one key.
const keyOf = (resource: string, id: string) => `${resource}:${id}`

/**
 * Labels kept near: answered synchronously on a hit (and on a miss where the reader is synchronous), one fetch at a time
 * for one resource. A copy counts only while the feed of its source is heard from.
 */
export function openNearCache(options: NearCacheOptions): NearCache {
  const { size, ttlMs, negativeTtlMs, maxStaleMs } = options.settings
  const clock = options.clock ?? (() => performance.now())
  const mostFetches = options.mostFetches ?? 1024
  const shelves = new Map<string | undefined, Shelf>()
  const subscriptions: (() => void)[] = []
  let fetching = 0

  for (const [name, { reader, feed }] of options.sources) {
    const shelf: Shelf = {
      reader,
      feed,
      known: new LRUCache({ max: size }),
      unknown: new LRUCache({ max: Math.max(100, Math.ceil(size / 10)) }),
      fetches: new Map(),
    }
    shelves.set(name, shelf)
    subscriptions.push(feed.subscribe((change) => forget(shelf, change)))
  }

  function keep(shelf: Shelf, key: string, record: LabelRecord | undefined, askedAt: number): void {
    const hit: LookedUp = { labels: record?.labels, cache: 'hit' }
    if (record === undefined) {
      shelf.known.delete(key)
      shelf.unknown.set(key, { hit, askedAt, until: askedAt + negativeTtlMs })
    } else {
      shelf.unknown.delete(key)
      shelf.known.set(key, { hit, askedAt, until: askedAt + ttlMs })
    }
  }

  function fetch(shelf: Shelf, key: string, resource: string, id: string, now: number): Soon<LookedUp> {
    const underWay = shelf.fetches.get(key)
    if (underWay !== undefined) return underWay.answer
    if (fetching >= mostFetches) throw new Unavailable(`${mostFetches} label look-ups are under way already`)
    const read = shelf.reader.read(resource, id)
    if (!(read instanceof Promise)) {
      keep(shelf, key, read, now)
      return { labels: read?.labels, cache: 'miss' }
    }
    fetching += 1
    const settle = async (): Promise<LookedUp> => {
      try {
        const record = await read
        if (made.keep) keep(shelf, key, record, now)
        return { labels: record?.labels, cache: 'miss' }
      } finally {
        fetching -= 1
        if (shelf.fetches.get(key) === made) shelf.fetches.delete(key)
      }
    }
    const made: Fetch = { answer: settle(), keep: true }
    // Its callers may have gone at their deadline; a failure is nobody's surprise then.
    made.answer.catch(() => {})
    shelf.fetches.set(key, made)
    return made.answer
  }

  return {
    labels: (source, resource, id, at) => {
      const shelf = shelves.get(source)
      if (shelf === undefined) throw new Unavailable(`no label source ${source}`)
      // First: a feed that polls when asked may drop copies.
      const heardAt = shelf.feed.heardAt()
      const now = at ?? clock()
      const key = keyOf(resource, id)
      const copy = shelf.known.get(key) ?? shelf.unknown.get(key)
      const fresh = copy !== undefined && now < copy.until
      if (now - heardAt <= feedTrustMs) return fresh ? copy.hit : fetch(shelf, key, resource, id, now)
      if (fresh && maxStaleMs > 0 && now - Math.max(heardAt, copy.askedAt) <= maxStaleMs) return copy.hit
      throw new Unavailable('changes of labels are not heard of')
    },
    size: () => {
      let sum = 0
      for (const shelf of shelves.values()) sum += shelf.known.size + shelf.unknown.size
      return sum
    },
    close: () => {
      for (const end of subscriptions) end()
    },
  }
}

/** What a change touches is dropped, and what is on its way will not be kept; who asks from now on asks anew. */
function forget(shelf: Shelf, change: Change): void {
  if (change.kind === 'label') {
    const key = keyOf(change.resource, change.id)
    shelf.known.delete(key)
    shelf.unknown.delete(key)
    const fetch = shelf.fetches.get(key)
    if (fetch === undefined) return
    fetch.keep = false
    shelf.fetches.delete(key)
  } else if (change.kind === 'labels') {
    shelf.known.clear()
    shelf.unknown.clear()
    for (const fetch of shelf.fetches.values()) fetch.keep = false
    shelf.fetches.clear()
  }
}
