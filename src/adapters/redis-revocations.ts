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

/** What a cursor says. */
interface Reached {
  /** Of the entry that was read last … */
  readonly id: string
  /** … and what it says. */
  readonly told: string
  /** The entry up to which this reading goes. */
  readonly goal: string
}

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
    const [, given, id, goal, told] = /^(\d+) (\S+) (\S+) (.*)$/s.exec(cursor ?? '') ?? []
    if (id === undefined || goal === undefined || told === undefined) return undefined
    if (given === String(epoch)) return { id, goal, told }
    const [entry] = (await link.run((redis) => redis.xrange(key, id, id))) as Entry[]
    return entry !== undefined && spelled(entry) === told ? { id, goal: end, told } : undefined
  }

  /** The newest entry: where a reading of several pages ends, so that it does end however fast others write. */
  async function newest(): Promise<string> {
    const [entry] = (await link.run((redis) => redis.xrevrange(key, end, '-', 'COUNT', 1))) as Entry[]
    return entry?.[0] ?? end
  }

  async function page(after: string | undefined, goal = end) {
    const start = after === undefined ? '-' : `(${after}`
    const found = (await link.run((redis) => redis.xrange(key, start, goal, 'COUNT', pageSize))) as Entry[]
    const now = Date.now() / 1000
    const entries: Revocation[] = []
    const expired: string[] = []
    for (const entry of found) {
      const stored = toStored(entry)
      if (stored === undefined) continue
      const revocation = readRevocation(stored, now)
      if (revocation === undefined) expired.push(entry[0])
      else entries.push(revocation)
    }
    // Best effort: what stays is come across again.
    if (expired.length > 0) link.run((redis) => redis.xdel(key, ...expired)).catch(() => {})
    return { entries, last: found.at(-1), more: found.length === pageSize }
  }

  /** Reads everything, for nothing but what has expired. */
  async function sweep(): Promise<void> {
    let read = await page(undefined)
    while (read.more) read = await page(read.last?.[0])
  }

  return {
    list: async (after) => {
      const begun = epoch
      const start = await startOf(after)
      const { entries, last, more } = await page(start?.id, start?.goal).catch((error: unknown) => {
        if (error instanceof UnknownLevel) failing(error.message)
        throw error
      })
      failing(undefined)
      if (performance.now() - sweptAt > sweepMs) {
        sweptAt = performance.now()
        sweep().catch(() => {})
      }
      const goal = !more ? end : start === undefined || start.goal === end ? await newest() : start.goal
      const reached = last === undefined ? start : { id: last[0], told: spelled(last) }
      // What was read while one session followed another may be of two streams.
      const cursor = reached === undefined || epoch !== begun ? String(begun) : `${begun} ${reached.id} ${goal} ${reached.told}`
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
