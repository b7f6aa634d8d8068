import { type Labels, noLabels } from '../core/ownership.ts'
import type { LabelStore } from '../core/ports.ts'
import { RedisRefusal } from './redis-fault.ts'
import type { RedisLink } from './redis-link.ts'
import { committed } from './redis-transaction.ts'

/** Field and value in turn, as RESP2 answers HGETALL, or the object that ioredis makes of it. */
function toLabels(reply: unknown): Labels {
  if (Array.isArray(reply)) {
    const labels = new Map<string, string>()
    for (let i = 0; i + 1 < reply.length; i += 2) labels.set(String(reply[i]), String(reply[i + 1]))
    return labels
  }
  return typeof reply === 'object' && reply !== null ? new Map(Object.entries(reply as Record<string, string>)) : noLabels
}

/** Labels in Redis. */
export interface RedisLabels extends LabelStore {
  /** The resource whose labels are at a key, or undefined for a key of something else. */
  readonly resourceAt: (key: string) => { readonly resource: string; readonly id: string } | undefined
}

/**
 * Labels as hashes at `postern:<realm>:labels:<resource>:<id>`, one round trip each. A hash cannot be empty: a resource
 * without labels is an unknown one. Commands: HGETALL, HSET, DEL, MULTI, EXEC.
 * @param written told when a write of our own was acknowledged
 */
export function redisLabels(link: RedisLink, realm: string, written: (resource: string, id: string) => void): RedisLabels {
  const prefix = `postern:${realm}:labels:`
  const keyOf = (resource: string, id: string) => `${prefix}${resource}:${id}`
  return {
    read: async (resource, id) => {
      let labels: Labels
      try {
        labels = toLabels(await link.run((redis) => redis.hgetall(keyOf(resource, id))))
      } catch (error) {
        // Something is there, but no hash: a resource whose owner nobody can read.
        if (error instanceof RedisRefusal && error.code === 'WRONGTYPE') return { labels: noLabels }
        throw error
      }
      return labels.size === 0 ? undefined : { labels }
    },
    write: async (resource, id, labels) => {
      const key = keyOf(resource, id)
      const fields = [...labels].flat()
      await link.run(async (redis) => {
        if (fields.length === 0) return await redis.del(key)
        const replacement = redis.multi().del(key)
        return await committed(replacement.hset(key, ...fields).exec())
      })
      written(resource, id)
    },
    remove: async (resource, id) => {
      const removed = await link.run((redis) => redis.del(keyOf(resource, id)))
      if (removed > 0) written(resource, id)
      return removed > 0
    },
    resourceAt: (key) => {
      if (!key.startsWith(prefix)) return undefined
      const colon = key.indexOf(':', prefix.length)
      return colon < 0 ? undefined : { resource: key.slice(prefix.length, colon), id: key.slice(colon + 1) }
    },
  }
}
