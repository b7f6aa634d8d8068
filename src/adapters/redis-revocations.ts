import type { Revocation, RevocationStore } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'

/** Entries asked for at a time: a long list must not hold up the look-ups on the same connection. */
const pageSize = 1000

type Entry = readonly [id: string, fields: readonly string[]]

/** An entry that somebody else put there in a form that says nothing is passed over. */
function toRevocation([, fields]: Entry): Revocation | undefined {
  const value = (name: string) => {
    const i = fields.indexOf(name)
    return i % 2 === 0 ? fields[i + 1] : undefined
  }
  const level = value('level')
  const target = value('target')
  const at = Number(value('at') ?? Number.NaN)
  const until = Number(value('until') ?? Number.NaN)
  if ((level !== 'token' && level !== 'subject') || target === undefined || Number.isNaN(at) || Number.isNaN(until)) return undefined
  return { level, target, at, until }
}

/** Revocations in Redis. */
export interface RedisRevocations extends RevocationStore {
  /** The stream may be another than before: cursors that were given out so far are good for nothing. */
  readonly forget: () => void
}

/**
 * Revocations as a stream, read from the id up to which the caller knows it. Entries that concern nothing any more are
 * deleted by whoever comes across them, and looked for now and then. Commands: XADD, XRANGE, XDEL.
 * @param sweepMs milliseconds between two searches for entries that have expired
 */
export function redisRevocations(link: Pick<RedisLink, 'run'>, key: string, sweepMs = 600_000): RedisRevocations {
  /** Part of each cursor: ids of one stream mean nothing in another. */
  let epoch = 0
  let sweptAt = performance.now()

  async function page(after: string | undefined) {
    const start = after === undefined ? '-' : `(${after}`
    const found = (await link.run((redis) => redis.xrange(key, start, '+', 'COUNT', pageSize))) as Entry[]
    const now = Date.now() / 1000
    const entries: Revocation[] = []
    const expired: string[] = []
    for (const entry of found) {
      const revocation = toRevocation(entry)
      if (revocation === undefined) continue
      if (revocation.until < now) expired.push(entry[0])
      else entries.push(revocation)
    }
    // Best effort: what stays is come across again.
    if (expired.length > 0) link.run((redis) => redis.xdel(key, ...expired)).catch(() => {})
    return { entries, last: found.at(-1)?.[0] ?? after, more: found.length === pageSize }
  }

  /** Reads everything, for nothing but what has expired. */
  async function sweep(): Promise<void> {
    let read = await page(undefined)
    while (read.more) read = await page(read.last)
  }

  return {
    list: async (after) => {
      const begun = epoch
      const [known, id] = after?.split(' ') ?? []
      const { entries, last, more } = await page(known === String(begun) ? id : undefined)
      if (performance.now() - sweptAt > sweepMs) {
        sweptAt = performance.now()
        sweep().catch(() => {})
      }
      return { entries, cursor: last === undefined ? String(begun) : `${begun} ${last}`, more }
    },
    append: async ({ level, target, at, until }) => {
      await link.run((redis) => redis.xadd(key, '*', 'level', level, 'target', target, 'at', String(at), 'until', String(until)))
    },
    forget: () => {
      epoch += 1
    },
  }
}
