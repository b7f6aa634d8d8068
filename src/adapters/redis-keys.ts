import { isJsonObject } from '../core/json.ts'
import { type KeyStore, type StoredKey, Unavailable } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'

// One script, so that of several replicas that rotate at once one wins. KEYS: the hash. ARGV: how many kids the caller
// saw, those kids, then kid and value of each key that is to be there.
const replaceScript = `
local seen = tonumber(ARGV[1])
if redis.call('HLEN', KEYS[1]) ~= seen then return 0 end
for i = 2, seen + 1 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then return 0 end
end
redis.call('DEL', KEYS[1])
for i = seen + 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
`

const algorithms: ReadonlySet<unknown> = new Set<StoredKey['algorithm']>(['ES256', 'RS256'])

function toKey(text: string): StoredKey {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {}
  const ok =
    isJsonObject(value) && typeof value['kid'] === 'string' && typeof value['privateKey'] === 'string' && algorithms.has(value['algorithm'])
  // To go on without it would be to sign with another key, or to publish fewer than others still use.
  if (!ok) throw new Unavailable('a signing key in Redis cannot be understood')
  return value as unknown as StoredKey
}

/** Signing keys as a hash from kid to JSON; what it holds is encrypted before it comes here. Commands: HVALS, EVAL, HLEN, HEXISTS, DEL, HSET. */
export function redisKeys(link: RedisLink, key: string): KeyStore {
  return {
    list: async () => {
      const values = await link.run((redis) => redis.hvals(key))
      return values.map(toKey).sort((a, b) => a.createdAt - b.createdAt || (a.kid < b.kid ? -1 : 1))
    },
    replace: async (seen, next) => {
      const kids = [...new Set(seen)]
      const entries = next.flatMap((stored) => [stored.kid, JSON.stringify(stored)])
      return (await link.run((redis) => redis.eval(replaceScript, 1, key, kids.length, ...kids, ...entries))) === 1
    },
  }
}
