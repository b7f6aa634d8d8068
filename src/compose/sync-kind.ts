import { isGone, KubernetesFailure } from '../adapters/kubernetes-failure.ts'
import { pause } from '../adapters/kubernetes-lease.ts'
import type { KubernetesReader, WatchEvent } from '../adapters/kubernetes-reader.ts'
import type { SyncMetrics } from '../adapters/kubernetes-sync-metrics.ts'
import type { Logger } from '../adapters/log.ts'
import { createBackoff } from './sync-backoff.ts'
import { each, type Mirror, NotLeading } from './sync-mirror.ts'
import type { Position } from './sync-position.ts'
import type { Told } from './sync-told.ts'

/** Removals that a list may bring about. */
export interface RemovalGuard {
  /** Percent of the records of this kind; 100: any number. */
  readonly mostPercent: number
  /** So many are always removed. */
  readonly always: number
}

export interface KindNeeds {
  readonly kind: string
  /** By namespace; `*` where all are watched together. */
  readonly readers: ReadonlyMap<string, KubernetesReader>
  readonly mirror: Mirror
  readonly position: Position
  readonly told: Told
  readonly guard: RemovalGuard
  readonly mayWrite: () => boolean
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly metrics: Pick<SyncMetrics, 'list' | 'watch' | 'fault'>
  /** What is said of a failure: a sentence, such as which right is missing. */
  readonly explain: (cause: unknown) => string
  readonly times?: Partial<KindTimes>
}

/** Milliseconds. */
export interface KindTimes {
  /** How far the watch is, is noted so often while nothing changes. */
  readonly noteMs: number
  /** Conflicts are tried again so often. */
  readonly settleMs: number
  /** A list is asked for again so often while removals are held. */
  readonly heldMs: number
}

const usualTimes: KindTimes = { noteMs: 5000, settleMs: 30_000, heldMs: 60_000 }

/** Why a list is needed. */
type ListReason = 'first' | 'gone' | 'held' | 'malformed'

/** A mirror of one kind at work. */
export interface KindSync {
  /** One list. @returns records that were held back. @throws what a list fails with */
  readonly once: (signal: AbortSignal) => Promise<number>
  /** Watches until the signal, whatever fails meanwhile. @throws {NotLeading} */
  readonly run: (signal: AbortSignal) => Promise<void>
  /** Monotonic milliseconds at which the API server was heard last. */
  readonly heardAt: () => number | undefined
  /** Records that a list lacked and that were kept. */
  readonly held: () => number
  /** Why it does not mirror at the moment; undefined: it does. */
  readonly fault: () => string | undefined
}

export function createKindSync(needs: KindNeeds): KindSync {
  const { kind, readers, mirror, position, told, guard, mayWrite, log, metrics, explain } = needs
  const times = { ...usualTimes, ...needs.times }
  let heardAt: number | undefined
  let held = 0
  let fault: string | undefined = 'not in step yet'
  let versions = new Map<string, string>()
  let working: Promise<unknown> = Promise.resolve()
  let notedAt = 0

  const heard = (): void => {
    heardAt = performance.now()
  }
  /** Work on records is done one after the other, so that nothing old is written over something new. */
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const done = working.then(work)
    working = done.catch(() => {})
    return done
  }
  const well = (): void => {
    if (fault !== undefined) log.info({ resource: kind, records: mirror.size() }, 'in step with the cluster')
    fault = undefined
  }
  const failed = (where: string, cause: unknown): void => {
    fault = explain(cause)
    metrics.fault(where)
    log.error({ resource: kind, fault }, `${where} failed`)
  }
  const note = async (): Promise<void> => {
    // While removals are held, the next start has to look again.
    if (held > 0) return
    if (!mayWrite()) throw new NotLeading('leadership was lost')
    notedAt = performance.now()
    await position.write(versions)
  }

  const list = async (reason: ListReason, signal: AbortSignal): Promise<number> => {
    metrics.list(kind, reason)
    const before = mirror.size()
    if (!mayWrite()) throw new NotLeading('leadership was lost')
    await position.write(undefined)
    told.listBegins()
    const at = performance.now()
    for (let attempt = 1; ; attempt++) {
      const listing = mirror.listing()
      const next = new Map<string, string>()
      try {
        for (const [namespace, reader] of readers) {
          const page = async (objects: Parameters<typeof listing.page>[0], unreadable: number): Promise<void> => {
            heard()
            if (unreadable > 0) log.warn({ resource: kind, unreadable }, 'objects without metadata are skipped')
            await listing.page(objects)
          }
          // The rest of a list that is not kept long enough is not to be had: after two attempts it is asked for as a whole.
          next.set(namespace, await reader.list(page, signal, attempt < 3))
        }
      } catch (cause) {
        if (!isGone(cause) || attempt === 4) throw cause
        log.warn({ resource: kind, attempt }, 'the list took longer than the API server keeps it: it begins anew')
        continue
      }
      const lacking = await listing.end()
      held = lacking > Math.max(guard.always, (before * guard.mostPercent) / 100) ? lacking : 0
      if (held === 0) await listing.sweep()
      else
        log.error(
          { resource: kind, lacking, mirrored: before, listed: listing.listed() },
          'removals are held: the list lacks more than may be removed at once; if that is right, start with --allow-mass-removal',
        )
      versions = next
      const ms = Math.round(performance.now() - at)
      await told.listEnds({ reason, listed: listing.listed(), ...(held > 0 && { held }), ms })
      await note()
      return held
    }
  }

  const take = (events: readonly WatchEvent[], namespace: string): Promise<void> =>
    inTurn(async () => {
      for (const batch of batchesOf(events, mirror)) {
        const writes = told.writes()
        await each(batch, async (event) => {
          if (event.kind === 'set') await mirror.set(event.object)
          else if (event.kind === 'gone') await mirror.gone(event.object)
          else if (event.kind === 'unreadable') log.warn({ resource: kind }, 'an object without metadata is skipped')
        })
        const last = batch.findLast((event) => event.kind !== 'unreadable')
        if (last) versions.set(namespace, last.kind === 'bookmark' ? last.version : last.object.resourceVersion)
        // Before the next batch: after a crash nothing older is written again over what came later.
        if (told.writes() !== writes || performance.now() - notedAt > times.noteMs) await note()
      }
    })

  /** Follows one namespace; ends with the signal. @throws what needs more than another watch */
  const follow = async (namespace: string, reader: KubernetesReader, signal: AbortSignal): Promise<void> => {
    const backoff = createBackoff()
    while (!signal.aborted) {
      const began = performance.now()
      try {
        metrics.watch(kind)
        for await (const events of reader.watch(versions.get(namespace) ?? '', signal)) {
          heard()
          backoff.reset()
          well()
          await take(events, namespace)
        }
        heard()
        well()
        // A server that ends each watch at once is not asked in a loop.
        if (performance.now() - began < 1000) await pause(backoff.next(), signal)
      } catch (cause) {
        if (signal.aborted) return
        if (isGone(cause) || !(cause instanceof KubernetesFailure) || cause.fault === 'too_large') throw cause
        failed('watch', cause)
        await pause(backoff.next(cause.retryAfterMs), signal)
      }
    }
  }

  /** Follows all namespaces. @returns why a list is needed; undefined: the signal */
  const followAll = async (signal: AbortSignal): Promise<ListReason | undefined> => {
    const group = new AbortController()
    const heldTimeout = held > 0 ? AbortSignal.timeout(times.heldMs) : undefined
    const all = AbortSignal.any([signal, group.signal, ...(heldTimeout ? [heldTimeout] : [])])
    const settling = setInterval(() => {
      inTurn(mirror.settle).catch((cause: unknown) => {
        if (!(cause instanceof NotLeading)) failed('settle', cause)
      })
    }, times.settleMs)
    let first: unknown
    const one = async (namespace: string, reader: KubernetesReader): Promise<void> => {
      try {
        await follow(namespace, reader, all)
      } catch (cause) {
        first ??= cause
        group.abort()
      }
    }
    await Promise.all([...readers].map(([namespace, reader]) => one(namespace, reader)))
    clearInterval(settling)
    await working
    if (first === undefined) return signal.aborted ? undefined : 'held'
    if (isGone(first)) {
      log.warn({ resource: kind }, 'the API server does not keep what happened since: a list is needed')
      return 'gone'
    }
    if (first instanceof KubernetesFailure) {
      failed('watch', first)
      return 'malformed'
    }
    throw first
  }

  const resume = async (): Promise<boolean> => {
    await mirror.load()
    const known = await position.read()
    if (!known || [...readers.keys()].some((namespace) => !known.has(namespace))) return false
    versions = new Map(known)
    held = 0
    // Who led before and has not noticed yet can note nothing any more.
    await note()
    log.info({ resource: kind, records: mirror.size() }, 'the watch goes on where it was')
    return true
  }

  return {
    once: async (signal) => {
      await mirror.load()
      await position.read()
      return inTurn(() => list('first', signal))
    },
    run: async (signal) => {
      const backoff = createBackoff()
      let reason: ListReason | undefined
      while (!signal.aborted) {
        try {
          if (reason === undefined && !(await resume())) reason = 'first'
          while (!signal.aborted) {
            if (reason !== undefined) {
              const why = reason
              await inTurn(() => list(why, signal))
              backoff.reset()
              well()
            }
            reason = await followAll(signal)
          }
        } catch (cause) {
          if (signal.aborted) break
          if (cause instanceof NotLeading) throw cause
          failed(cause instanceof KubernetesFailure ? 'list' : 'state', cause)
          reason = undefined
          await pause(backoff.next(cause instanceof KubernetesFailure ? cause.retryAfterMs : undefined), signal)
        }
      }
      // What was written is noted once more, so that the next one goes on from here.
      if (mayWrite() && fault === undefined) await inTurn(note)
    },
    heardAt: () => heardAt,
    held: () => held,
    fault: () => fault,
  }
}

/** Events in parts that may be taken at once: no two of a part touch the same object or record. */
function* batchesOf(events: readonly WatchEvent[], mirror: Pick<Mirror, 'touches'>): Generator<readonly WatchEvent[]> {
  let batch: WatchEvent[] = []
  let touched = new Set<string>()
  for (const event of events) {
    const touches = event.kind === 'set' || event.kind === 'gone' ? mirror.touches(event.object) : []
    if (touches.some((place) => touched.has(place))) {
      yield batch
      batch = []
      touched = new Set()
    }
    for (const place of touches) touched.add(place)
    batch.push(event)
  }
  if (batch.length > 0) yield batch
}
