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

export interface RedisRevocations extends RevocationStore {
  /** The next list is read from the beginning: the stream may be another than before. */
  readonly forget: () => void
}

/**
 * Revocations as a stream, of which only what is new is read; entries that concern nothing any more are deleted by
 * whoever lists them. Commands: XADD, XRANGE, XDEL.
 */
export function redisRevocations(link: RedisLink, key: string): RedisRevocations {
  let known = new Map<string, Revocation>()
  let last: string | undefined
  let listing: Promise<readonly Revocation[]> | undefined
  let again = false
  let epoch = 0

  /** Reads to the end, and into a map of its own until it is all there. */
  async function readOn(): Promise<void> {
    const begun = epoch
    const from = last
    const found = from === undefined ? new Map<string, Revocation>() : known
    let cursor = from
    for (;;) {
      const start = cursor === undefined ? '-' : `(${cursor}`
      const page = (await link.run((redis) => redis.xrange(key, start, '+', 'COUNT', pageSize))) as Entry[]
      for (const entry of page) {
        const revocation = toRevocation(entry)
        if (revocation !== undefined) found.set(entry[0], revocation)
      }
      cursor = page.at(-1)?.[0] ?? cursor
      if (page.length < pageSize) break
    }
    // Forgotten while it was read: the next reading begins anew.
    if (epoch !== begun) return
    known = found
    last = cursor
  }

  function sweep(): void {
    const now = Date.now() / 1000
    const expired: string[] = []
    for (const [id, { until }] of known) if (until < now) expired.push(id)
    for (const id of expired) known.delete(id)
    // Best effort: what stays is swept by the next replica that starts.
    if (expired.length > 0) link.run((redis) => redis.xdel(key, ...expired.slice(0, pageSize))).catch(() => {})
  }

  async function list(): Promise<readonly Revocation[]> {
    do {
      again = false
      await readOn()
    } while (again)
    sweep()
    return [...known.values()]
  }

  return {
    list: () => {
      // Whoever asks while a list is being read must see what was there when it asked.
      if (listing !== undefined) again = true
      listing ??= list().finally(() => {
        listing = undefined
      })
      return listing
    },
    append: async ({ level, target, at, until }) => {
      await link.run((redis) => redis.xadd(key, '*', 'level', level, 'target', target, 'at', String(at), 'until', String(until)))
    },
    forget: () => {
      last = undefined
      epoch += 1
      again = true
    },
  }
}
