import { isInstant } from '../core/api-key.ts'
import { isJsonObject, type Json } from '../core/json.ts'
import { type ApiKeyRecord, type ApiKeyStore, apiKeyEnd, apiKeyKept } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'

/** Entries asked for at a time: a long log must not hold up the look-ups on the same connection. */
const pageSize = 1000
/** Uses written at a time: no command is longer than an answer to a page, and none has more arguments than a call can. */
const mostUses = 1000

type Entry = readonly [id: string, fields: readonly string[]]

const isTexts = (value: Json | undefined): value is string[] => Array.isArray(value) && value.every((one) => typeof one === 'string')
const isTime = (value: Json | undefined): value is number | undefined => value === undefined || isInstant(value)

/** An entry that somebody else put there in a form that says nothing is passed over: it admits nobody. */
function toRecord([, fields]: Entry): ApiKeyRecord | undefined {
  let value: unknown
  try {
    value = JSON.parse(fields[1] ?? '')
  } catch {}
  if (fields[0] !== 'key' || !isJsonObject(value)) return undefined
  const { id, digest, validator, name, owner, roles, scopes, createdAt, createdBy, expiresAt, revokedAt } = value
  const texts = [id, digest, validator, name, owner, createdBy].every((text) => typeof text === 'string')
  if (!texts || !isTexts(roles) || !isTexts(scopes) || !isInstant(createdAt)) return undefined
  // A time in a form that says nothing must not mean "for ever".
  if (!isTime(expiresAt) || !isTime(revokedAt)) return undefined
  return { id, digest, validator, name, owner, roles, scopes, createdAt, createdBy, expiresAt, revokedAt } as ApiKeyRecord
}

/** API keys in Redis. */
export interface RedisApiKeys extends ApiKeyStore {
  /** The stream may be another than before: cursors that were given out so far are good for nothing. */
  readonly forget: () => void
}

/**
 * API keys as a stream of records in JSON, read from the id up to which the caller knows it, and a hash of when each was
 * last used. Commands: XADD, XRANGE, XDEL, HSET, HMGET, HDEL.
 * @param sweepMs milliseconds between two searches for keys that ended long ago
 */
export function redisApiKeys(link: Pick<RedisLink, 'run'>, key: string, usedKey: string, sweepMs = 86_400_000): RedisApiKeys {
  /** Part of each cursor: ids of one stream mean nothing in another. */
  let epoch = 0
  let sweptAt = performance.now()

  /** Whether the entry that was read last is there no more: then others may be gone as well, unseen. */
  async function isGone(id: string): Promise<boolean> {
    return (await link.run((redis) => redis.xrange(key, id, id))).length === 0
  }

  async function page(after: string | undefined) {
    const start = after === undefined ? '-' : `(${after}`
    const found = (await link.run((redis) => redis.xrange(key, start, '+', 'COUNT', pageSize))) as Entry[]
    return { found, last: found.at(-1)?.[0] ?? after, more: found.length === pageSize }
  }

  /** Takes the keys out that ended long ago. */
  async function sweep(): Promise<void> {
    const known = new Map<string, { readonly entries: string[]; end: number }>()
    for (let cursor: string | undefined, more = true; more; ) {
      const read = await page(cursor)
      for (const entry of read.found) {
        const record = toRecord(entry)
        if (record === undefined) continue
        const seen = known.get(record.id) ?? { entries: [], end: Number.POSITIVE_INFINITY }
        known.set(record.id, seen)
        seen.entries.push(entry[0])
        seen.end = Math.min(seen.end, apiKeyEnd(record))
      }
      cursor = read.last
      more = read.more
    }
    const kept = Date.now() / 1000 - apiKeyKept
    for (const [id, { entries, end }] of known) {
      if (end >= kept) continue
      // All in one command: a key whose revocation alone were gone would be in force again.
      await link.run((redis) => redis.xdel(key, ...entries))
      await link.run((redis) => redis.hdel(usedKey, id))
    }
  }

  return {
    list: async (after) => {
      const begun = epoch
      const [known, id] = after?.split(' ') ?? []
      const start = known === String(begun) && id !== undefined && !(await isGone(id)) ? id : undefined
      const { found, last, more } = await page(start)
      if (performance.now() - sweptAt > sweepMs) {
        sweptAt = performance.now()
        sweep().catch(() => {})
      }
      const entries = found.flatMap((entry) => toRecord(entry) ?? [])
      return { anew: start === undefined, entries, cursor: last === undefined ? String(begun) : `${begun} ${last}`, more }
    },
    append: async (record) => {
      await link.run((redis) => redis.xadd(key, '*', 'key', JSON.stringify(record)))
    },
    noteUsed: async (uses) => {
      const all = [...uses]
      for (let i = 0; i < all.length; i += mostUses) {
        const part = all
          .slice(i, i + mostUses)
          .flat()
          .map(String)
        await link.run((redis) => redis.hset(usedKey, ...part))
      }
    },
    lastUsed: async (ids) => {
      if (ids.length === 0) return new Map()
      const times = await link.run((redis) => redis.hmget(usedKey, ...ids))
      const found = new Map<string, number>()
      for (const [i, text] of times.entries()) {
        const at = Number(text ?? Number.NaN)
        if (!Number.isNaN(at)) found.set(ids[i]!, at)
      }
      return found
    },
    forget: () => {
      epoch += 1
    },
  }
}
