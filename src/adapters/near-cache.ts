import { LRUCache } from 'lru-cache'
import type { Labels } from '../core/ownership.ts'
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
import { NearCopies, nowhere } from './near-copies.ts'

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

interface Fetch {
  readonly answer: Promise<LookedUp>
  /** false: something changed while it was under way, and what it brings may be what was before. */
  keep: boolean
}

interface Shelf extends LabelSource {
  readonly known: NearCopies
  /** Apart, so that probing for ids that do not exist cannot push out those that do. */
  readonly unknown: NearCopies
  readonly fetches: Map<string, Fetch>
}

/** Labels that are kept once for all resources that have them. */
const mostAlike = 10_000
const unknown: LookedUp = { labels: undefined, cache: 'hit' }

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
  const alike = new LRUCache<string, LookedUp>({ max: mostAlike })
  let fetching = 0

  for (const [name, { reader, feed }] of options.sources) {
    const shelf: Shelf = {
      reader,
      feed,
      known: new NearCopies(size),
      unknown: new NearCopies(Math.max(100, Math.ceil(size / 10))),
      fetches: new Map(),
    }
    shelves.set(name, shelf)
    subscriptions.push(feed.subscribe((change) => forget(shelf, change)))
  }

  function keep(shelf: Shelf, resource: string, id: string, record: LabelRecord | undefined, askedAt: number): void {
    const [copies, others] = record === undefined ? [shelf.unknown, shelf.known] : [shelf.known, shelf.unknown]
    others.delete(resource, id)
    copies.set(resource, id, record === undefined ? unknown : hitOf(record.labels), askedAt)
  }

  /** One owner has many resources, and most of them no other label: such labels are kept once. */
  function hitOf(labels: Labels): LookedUp {
    const hit: LookedUp = { labels, cache: 'hit' }
    if (labels.size !== 1) return hit
    const key = JSON.stringify([...labels])
    const known = alike.get(key)
    if (known) return known
    alike.set(key, hit)
    return hit
  }

  /** @param anew what is under way began before: it may bring what was before the caller asked */
  function fetch(shelf: Shelf, resource: string, id: string, now: number, anew: boolean): Soon<LookedUp> {
    const key = keyOf(resource, id)
    const underWay = shelf.fetches.get(key)
    if (underWay !== undefined && !anew) return underWay.answer
    if (fetching >= mostFetches) throw new Unavailable(`${mostFetches} label look-ups are under way already`)
    const read = shelf.reader.read(resource, id)
    if (!(read instanceof Promise)) {
      keep(shelf, resource, id, read, now)
      return { labels: read?.labels, cache: 'miss' }
    }
    fetching += 1
    const settle = async (): Promise<LookedUp> => {
      try {
        const record = await read
        if (made.keep) keep(shelf, resource, id, record, now)
        return { labels: record?.labels, cache: 'miss' }
      } finally {
        fetching -= 1
        if (shelf.fetches.get(key) === made) shelf.fetches.delete(key)
      }
    }
    const made: Fetch = { answer: settle(), keep: true }
    // Nobody would tell it of changes any more, and this one brings what is newer.
    if (underWay !== undefined) underWay.keep = false
    // Its callers may have gone at their deadline; a failure is nobody's surprise then.
    made.answer.catch(() => {})
    shelf.fetches.set(key, made)
    return made.answer
  }

  return {
    labels: (source, resource, id, at, strict) => {
      const shelf = shelves.get(source)
      if (shelf === undefined) throw new Unavailable(`no label source ${source}`)
      // First: a feed that polls when asked may drop copies.
      const heardAt = shelf.feed.heardAt(resource, id)
      const now = at ?? clock()
      // What is brought is served without the feed, and kept until the feed or its time says otherwise, as any other copy.
      if (strict) return fetch(shelf, resource, id, now, true)
      let copies = shelf.known
      let place = copies.find(resource, id)
      let lifeMs = ttlMs
      if (place === nowhere) {
        copies = shelf.unknown
        place = copies.find(resource, id)
        lifeMs = negativeTtlMs
      }
      const fresh = place !== nowhere && now < copies.askedAt(place) + lifeMs
      if (now - heardAt <= feedTrustMs) return fresh ? copies.hit(place) : fetch(shelf, resource, id, now, false)
      if (fresh && maxStaleMs > 0 && now - Math.max(heardAt, copies.askedAt(place)) <= maxStaleMs) return copies.hit(place)
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
    shelf.known.delete(change.resource, change.id)
    shelf.unknown.delete(change.resource, change.id)
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
