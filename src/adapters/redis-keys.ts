import { type KeyStore, type StoredKey, Unavailable } from '../core/ports.ts'
import type { RedisLink } from './redis-link.ts'
import { readStoredKey } from './stored-key.ts'

// One script, so that of several replicas that rotate at once one wins. KEYS: the hash. ARGV: how many keys the caller saw,
// kid and version of each, then kid and value of each key that is to be there. The version is what `keyVersion` makes of a key.
const replaceScript = `
local seen = tonumber(ARGV[1])
if redis.call('HLEN', KEYS[1]) ~= seen then return 0 end
local function whole(number) return string.format('%.0f', type(number) == 'number' and number or -1) end
for i = 2, 2 * seen, 2 do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  if not value then return 0 end
  local key = cjson.decode(value)
  if ARGV[i] .. ' ' .. whole(key.activeAt) .. ' ' .. whole(key.retiredAt) .. ' ' .. whole(key.keepFor) ~= ARGV[i + 1] then return 0 end
end
redis.call('DEL', KEYS[1])
for i = 2 * seen + 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
`

function toKey(text: string): StoredKey {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {}
  const key = readStoredKey(value)
  // To go on without it would be to sign with another key, or to publish fewer than others still use.
  if (!key) throw new Unavailable('a signing key in Redis cannot be understood')
  return key
}

/** Signing keys as a hash from kid to JSON; what it holds is encrypted before it comes here. Commands: HVALS, EVAL, HLEN, HGET, DEL, HSET. */
export function redisKeys(link: RedisLink, key: string): KeyStore {
  return {
    list: async () => {
      const values = await link.run((redis) => redis.hvals(key))
      return values.map(toKey).sort((a, b) => a.createdAt - b.createdAt || (a.kid < b.kid ? -1 : 1))
    },
    replace: async (seen, next) => {
      const versions = [...new Set(seen)]
      const expected = versions.flatMap((version) => [version.slice(0, version.indexOf(' ')), version])
      const entries = next.flatMap((stored) => [stored.kid, JSON.stringify(stored)])
      return (await link.run((redis) => redis.eval(replaceScript, 1, key, versions.length, ...expected, ...entries))) === 1
    },
  }
}
