import { readJsonObject } from '../core/json.ts'
import { Unavailable } from '../core/ports.ts'
import type { RecordKind, RecordStore, StoredRecord } from '../core/record-store.ts'
import type { RedisLink } from './redis-link.ts'
import { newRevision, toStoredRecord } from './stored-record.ts'

// One script each, so that of several replicas one wins, and the hash and the order by `until` never differ. What is stored
// begins with its revision, so that the script compares a prefix and reads no JSON.
// KEYS: the hash, the order. ARGV: id, beginning of what must be there ('' for nothing), until, what is to be there.
const writeScript = `
local old = redis.call('HGET', KEYS[1], ARGV[1])
if ARGV[2] == '' then
  if old then return 0 end
elseif not old or string.sub(old, 1, #ARGV[2]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
if ARGV[3] == '0' then redis.call('ZREM', KEYS[2], ARGV[1]) else redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1]) end
return 1
`
// ARGV: id, beginning of what must be there ('' for anything). What stands in the order alone, by another hand, is taken out.
const removeScript = `
local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and ARGV[2] ~= '' and string.sub(old, 1, #ARGV[2]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('HDEL', KEYS[1], ARGV[1])
`

/** How a stored record begins. */
const beginning = (revision: string): string => `{"revision":${JSON.stringify(revision)},`
/** As `seen`, what no record ever begins with. */
const never = ' '

function toRecord(id: string, text: string): StoredRecord | undefined {
  const stored = readJsonObject(text)
  return stored && toStoredRecord(id, stored['value'], stored['until'], stored['revision'])
}

/**
 * Records in Redis, for each kind a hash `postern:<realm>:records:<kind>` from id to JSON, and beside it, with `:until`, the
 * ids that have an end, by their end. Commands: HGET, HSCAN, HMGET, ZRANGE, EVAL, HSET, HDEL, ZADD, ZREM.
 */
export function redisRecords(link: Pick<RedisLink, 'run'>, realm: string): RecordStore {
  const keys = (kind: RecordKind) => [`postern:${realm}:records:${kind}`, `postern:${realm}:records:${kind}:until`] as const

  const remove = async (kind: RecordKind, id: string, start: string): Promise<boolean> =>
    (await link.run((redis) => redis.eval(removeScript, 2, ...keys(kind), id, start))) === 1

  return {
    read: async (kind, id) => {
      const text = await link.run((redis) => redis.hget(keys(kind)[0], id))
      if (text === null) return undefined
      const record = toRecord(id, text)
      if (record === undefined) throw new Unavailable(`a record (${kind}) in Redis cannot be understood`)
      return record
    },
    write: async (kind, { id, value, until }, seen) => {
      const revision = newRevision()
      const text = `${beginning(revision)}"until":${JSON.stringify(until)},"value":${JSON.stringify(value)}}`
      const start = seen === undefined ? '' : beginning(seen)
      const written = await link.run((redis) => redis.eval(writeScript, 2, ...keys(kind), id, start, String(until), text))
      return written === 1 ? revision : undefined
    },
    remove: (kind, id, seen) => remove(kind, id, seen === undefined ? '' : beginning(seen)),
    list: async (kind, most, after = '0') => {
      const [hash] = keys(kind)
      // What is no cursor of HSCAN begins anew, as in the other drivers.
      for (let cursor = /^\d{1,19}$/.test(after) ? after : '0'; ; ) {
        // HSCAN tells each field that stays at least once, whatever is written meanwhile; a page of it may be empty.
        const [next, found] = await link.run((redis) => redis.hscan(hash, cursor, 'COUNT', most))
        const records: StoredRecord[] = []
        for (let i = 0; i + 1 < found.length; i += 2) {
          const record = toRecord(found[i]!, found[i + 1]!)
          if (record !== undefined) records.push(record)
        }
        if (next === '0') return { records, cursor: undefined }
        if (records.length > 0) return { records, cursor: next }
        cursor = next
      }
    },
    expired: async (kind, now, most) => {
      const [hash, order] = keys(kind)
      const records: StoredRecord[] = []
      // What nobody can read stays, and must not keep what comes after it from being told.
      for (let told = 0; records.length < most; ) {
        const ids = await link.run((redis) => redis.zrange(order, '-inf', `(${now}`, 'BYSCORE', 'LIMIT', told, most))
        const texts = ids.length === 0 ? [] : await link.run((redis) => redis.hmget(hash, ...ids))
        told += ids.length
        for (const [i, id] of ids.entries()) {
          const text = texts[i]
          // One place less where it was in the order alone.
          if (text == null) {
            await remove(kind, id, never)
            told -= 1
            continue
          }
          const record = toRecord(id, text)
          // It may have been written anew since the order was read.
          if (record !== undefined && record.until !== 0 && record.until < now && records.length < most) records.push(record)
        }
        if (ids.length < most) break
      }
      return records
    },
  }
}
