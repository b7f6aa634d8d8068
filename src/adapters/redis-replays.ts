import type { ReplayStore } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'

/**
 * Proofs that were seen, each a key that expires by itself: `postern:<realm>:replays:<key>`. One round trip, in which one of
 * several replicas wins. Commands: SET (NX, PX).
 */
export function redisReplays(link: Pick<RedisLink, 'run'>, realm: string): ReplayStore {
  return {
    claim: async (key, until) => {
      const ms = Math.max(1, Math.ceil(until * 1000 - Date.now()))
      return (await link.run((redis) => redis.set(`postern:${realm}:replays:${key}`, '1', 'PX', ms, 'NX'))) === 'OK'
    },
  }
}
