import { type Labels, noLabels } from '../core/ownership.ts'
import type { LabelStore, StoredLabels } from '../core/ports.ts'
import { RedisRefusal } from './redis-fault.ts'
import { redisLabelList } from './redis-label-list.ts'
import { toLabels } from './redis-label-reply.ts'
import type { RedisLink } from './redis-link.ts'
import { committed } from './redis-transaction.ts'

// A script each, so that of several replicas one wins, in one round trip.
// ARGV: how many pairs must be there (-1: no key at all), those pairs, and the pairs that are to be there.
const swapScript = `
local seen = tonumber(ARGV[1])
local now = redis.pcall('HGETALL', KEYS[1])
if now.err then
  if not string.find(now.err, 'WRONGTYPE', 1, true) then return now end
  if seen ~= 0 then return 0 end
elseif seen == -1 then
  if #now > 0 then return 0 end
else
  if seen == 0 or #now ~= 2 * seen then return 0 end
  local have = {}
  for i = 1, #now, 2 do have[now[i]] = now[i + 1] end
  for i = 2, 2 * seen, 2 do if have[ARGV[i]] ~= ARGV[i + 1] then return 0 end end
end
redis.call('DEL', KEYS[1])
for i = 2 + 2 * math.max(seen, 0), #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
`
// ARGV: 'absent' or 'replace', and the pairs that are to be there.
const putScript = `
if ARGV[1] == 'absent' and redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('DEL', KEYS[1])
for i = 2, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1]) end
return 1
`

/** What MATCH takes for itself, and nothing else. */
const literally = (text: string): string => text.replace(/[\\*?[\]]/g, '\\$&')

/** Labels in Redis. */
export interface RedisLabels extends LabelStore {
  /** The resource whose labels are at a key, or undefined for a key of something else. */
  readonly resourceAt: (key: string) => { readonly resource: string; readonly id: string } | undefined
  readonly close: () => void
}

/**
 * Labels as hashes at `postern:<realm>:labels:<resource>:<id>`, one round trip each. A hash cannot be empty: a resource
 * without labels is an unknown one. Commands: HGETALL, HSET, DEL, MULTI, EXEC, EVAL, EXISTS, SCAN.
 * @param written told when a write of our own was acknowledged
 */
export function redisLabels(link: RedisLink, realm: string, written: (resource: string, id: string) => void): RedisLabels {
  const prefix = `postern:${realm}:labels:`
  const keyOf = (resource: string, id: string) => `${prefix}${resource}:${id}`
  const resourceAt = (key: string) => {
    if (!key.startsWith(prefix)) return undefined
    const colon = key.indexOf(':', prefix.length)
    return colon < 0 ? undefined : { resource: key.slice(prefix.length, colon), id: key.slice(colon + 1) }
  }
  const readKey = async (key: string): Promise<Labels | undefined> => {
    try {
      const labels = toLabels(await link.run((redis) => redis.hgetall(key), key))
      return labels.size === 0 ? undefined : labels
    } catch (error) {
      // Something is there, but no hash: a resource whose owner nobody can read.
      if (error instanceof RedisRefusal && error.code === 'WRONGTYPE') return noLabels
      throw error
    }
  }
  const pages = redisLabelList(link, readKey)

  return {
    read: async (resource, id) => {
      const labels = await readKey(keyOf(resource, id))
      return labels && { labels }
    },
    write: async (resource, id, labels) => {
      const key = keyOf(resource, id)
      const fields = [...labels].flat()
      await link.run(async (redis) => {
        if (fields.length === 0) return await redis.del(key)
        const replacement = redis.multi().del(key)
        return await committed(replacement.hset(key, ...fields).exec())
      }, key)
      written(resource, id)
    },
    remove: async (resource, id) => {
      const removed = await link.run((redis) => redis.del(keyOf(resource, id)), keyOf(resource, id))
      if (removed > 0) written(resource, id)
      return removed > 0
    },
    swap: async (resource, id, seen, next) => {
      const key = keyOf(resource, id)
      const pairs = [...(seen ?? []), ...next].flat()
      const swapped = await link.run((redis) => redis.eval(swapScript, 1, key, seen?.size ?? -1, ...pairs), key)
      if (swapped === 1) written(resource, id)
      return swapped === 1
    },
    writeMany: async (entries, mode) => {
      // All are sent before the first is answered.
      const outcomes = await Promise.allSettled(
        entries.map(async ({ resource, id, labels }) => {
          const key = keyOf(resource, id)
          const put = await link.run((redis) => redis.eval(putScript, 1, key, mode, ...[...labels].flat()), key)
          if (put === 1) written(resource, id)
          return put === 1
        }),
      )
      return outcomes.map((outcome) => {
        if (outcome.status === 'rejected') throw outcome.reason
        return outcome.value
      })
    },
    list: async ({ resource, member }, most, after) => {
      const page = await pages.page(`${literally(resource === undefined ? prefix : keyOf(resource, ''))}*`, most, after)
      const entries: StoredLabels[] = []
      for (const [key, labels] of page.found) {
        const of = resourceAt(key)
        if (of !== undefined && (member === undefined || labels.get(member[0]) === member[1])) entries.push({ ...of, labels })
      }
      return { entries, cursor: page.cursor }
    },
    resourceAt,
    close: pages.close,
  }
}
