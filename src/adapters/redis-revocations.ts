import type { Revocation, RevocationStore } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'
import { readRevocation, storedLevel, UnknownLevel } from './stored-revocation.ts'

/** Entries asked for at a time: a long list must not hold up the look-ups on the same connection. */
const pageSize = 1000

type Entry = readonly [id: string, fields: readonly string[]]

/** An entry that somebody else put there without a level or a target says nothing, and is passed over. */
function toStored([, fields]: Entry) {
  const value = (name: string): string | undefined => {
    // Names alone: a target may be called as a field is.
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1]
    return undefined
  }
  const level = value('level')
  const target = value('target')
  const at = Number(value('at') ?? Number.NaN)
  const until = Number(value('until') ?? Number.NaN)
  return level === undefined || target === undefined ? undefined : { level, target, at, until }
}

/** In place of an id: whatever is newest. */
const end = '+'

/** An entry that was read. */
interface Mark {
  readonly id: string
  /** What it says. */
  readonly told: string
}

/** What a cursor says. */
interface Reached extends Mark {
  /** The entry up to which this reading goes. */
  readonly goal: string
  /** One at or before it that will be there for long: the newest may have ended in a minute. Absent: there was none yet. */
  readonly anchor?: Mark & { readonly until: number }
}

/** Seconds: to last longer is no better. */
const lastsLong = 30 * 86_400

/** Tells an entry from another of the same id. */
const spelled = ([, fields]: Entry): string => JSON.stringify(fields)

/** Revocations in Redis. */
export interface RedisRevocations extends RevocationStore {
  /** The stream may be another than before: cursors that were given out so far are good for nothing. */
  readonly forget: () => void
  /** Why the list cannot be put in force; undefined while it can. */
  readonly fault: () => string | undefined
}

/**
 * Revocations as a stream, read from the id up to which the caller knows it. Entries that concern nothing any more are
 * deleted by whoever comes across them, and looked for now and then. Commands: XADD, XRANGE, XREVRANGE, XDEL.
 * @param sweepMs milliseconds between two searches for entries that have expired
 * @param onFault told of an entry that this version cannot put in force, and with undefined once there is none
 */
export function redisRevocations(
  link: Pick<RedisLink, 'run'>,
  key: string,
  sweepMs = 600_000,
  onFault: (fault: string | undefined) => void = () => {},
): RedisRevocations {
  let fault: string | undefined
  const failing = (now: string | undefined) => {
    if (now === fault) return
    fault = now
    onFault(now)
  }
  /** Part of each cursor: ids of one stream mean nothing in another. */
  let epoch = 0
  let sweptAt = performance.now()

  /**
   * Where to go on after a cursor. One that was given out before the stream may have become another is good where the entry is
   * still there as it was read: what stands before an entry of a stream never changes, and what comes after it has a higher id.
   * To read a million entries anew after each broken connection would take longer than checks may go without news.
   */
  async function startOf(cursor: string | undefined): Promise<Reached | undefined> {
    const [, given, text] = /^(\d+) \S+ (.+)$/s.exec(cursor ?? '') ?? []
    if (text === undefined) return undefined
    const reached = JSON.parse(text) as Reached
    if (given === String(epoch)) return reached
    if (await isThere(reached)) return { ...reached, goal: end }
    const { anchor } = reached
    return anchor && (await isThere(anchor)) ? { id: anchor.id, told: anchor.told, goal: end, anchor } : undefined
  }

  async function isThere({ id, told }: Mark): Promise<boolean> {
    const [entry] = (await link.run((redis) => redis.xrange(key, id, id))) as Entry[]
    return entry !== undefined && spelled(entry) === told
  }

  /** The newest entry: where a reading of several pages ends, so that it does end however fast others write. */
  async function newest(): Promise<string> {
    const [entry] = (await link.run((redis) => redis.xrevrange(key, end, '-', 'COUNT', 1))) as Entry[]
    return entry?.[0] ?? end
  }

  async function page(from: Pick<Reached, 'id' | 'goal' | 'anchor'> | undefined) {
    const start = from === undefined ? '-' : `(${from.id}`
    const goal = from?.goal ?? end
    const found = (await link.run((redis) => redis.xrange(key, start, goal, 'COUNT', pageSize))) as Entry[]
    const now = Date.now() / 1000
    const entries: Revocation[] = []
    const expired: string[] = []
    const lasts = (until: number) => Math.min(until - now, lastsLong)
    let anchor = from?.anchor
    let anchored: Entry | undefined
    for (const entry of found) {
      const stored = toStored(entry)
      if (stored === undefined) continue
      const revocation = readRevocation(stored, now)
      if (revocation === undefined) expired.push(entry[0])
      else {
        entries.push(revocation)
        // The newest of those that last about as long as any.
        if (2 * lasts(revocation.until) >= lasts(anchor?.until ?? 0)) {
          anchor = { id: entry[0], told: '', until: revocation.until }
          anchored = entry
        }
      }
    }
    if (anchor && anchored) anchor = { ...anchor, told: spelled(anchored) }
    // Best effort: what stays is come across again.
    if (expired.length > 0) link.run((redis) => redis.xdel(key, ...expired)).catch(() => {})
    return { entries, last: found.at(-1), anchor, more: found.length === pageSize }
  }

  /** Reads everything, for nothing but what has expired. */
  async function sweep(): Promise<void> {
    let read = await page(undefined)
    while (read.more && read.last) read = await page({ id: read.last[0], goal: end })
  }

  return {
    list: async (after) => {
      const begun = epoch
      const start = await startOf(after)
      const { entries, last, anchor, more } = await page(start).catch((error: unknown) => {
        if (error instanceof UnknownLevel) failing(error.message)
        throw error
      })
      failing(undefined)
      if (performance.now() - sweptAt > sweepMs) {
        sweptAt = performance.now()
        sweep().catch(() => {})
      }
      const goal = !more ? end : start === undefined || start.goal === end ? await newest() : start.goal
      const mark = last === undefined ? start : { id: last[0], told: spelled(last) }
      const reached: Reached | undefined = mark && { id: mark.id, told: mark.told, goal, ...(anchor && { anchor }) }
      // What was read while one session followed another may be of two streams.
      const cursor = reached === undefined || epoch !== begun ? String(begun) : `${begun} ${reached.id} ${JSON.stringify(reached)}`
      return { entries, cursor, more }
    },
    append: async (revocation) => {
      const { target, at, until } = revocation
      const level = storedLevel(revocation)
      await link.run((redis) => redis.xadd(key, '*', 'level', level, 'target', target, 'at', String(at), 'until', String(until)))
    },
    fault: () => fault,
    forget: () => {
      epoch += 1
    },
  }
}
