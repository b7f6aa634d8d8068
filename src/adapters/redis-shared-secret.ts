import { type SecretStore, Unavailable } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'

/** Secrets that replicas share, each a key `postern:<realm>:secrets:<name>` that stays. Commands: SET (NX), GET. */
export function redisSecrets(link: Pick<RedisLink, 'run'>, realm: string): SecretStore {
  return {
    shared: async (name, candidate) => {
      const key = `postern:${realm}:secrets:${name}`
      const found = await link.run(async (redis) => {
        await redis.set(key, candidate, 'NX')
        return redis.get(key)
      })
      // Evicted or deleted between the two: whoever asks next finds what is there by then.
      if (found === null) throw new Unavailable('a secret in Redis vanished as it was read')
      return found
    },
  }
}
