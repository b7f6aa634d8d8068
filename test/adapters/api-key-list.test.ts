import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ApiKeyList, openApiKeyList } from '../../src/adapters/api-key-list.ts'
import { createMemoryApiKeys, memoryApiKeys } from '../../src/adapters/memory-api-keys.ts'
import { redisApiKeys } from '../../src/adapters/redis-api-keys.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type ApiKeyRecord, type ApiKeyStore, apiKeyEnd, apiKeyKept, type Change, Unavailable } from '../../src/core/ports.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const now = Math.floor(Date.now() / 1000)
const record = (id: string, more: Partial<ApiKeyRecord> = {}): ApiKeyRecord => ({
  id,
  digest: `digest of ${id}`,
  validator: 'partners',
  name: id,
  owner: 'alice',
  roles: ['viewer'],
  scopes: [],
  createdAt: now,
  createdBy: 'admin',
  expiresAt: undefined,
  revokedAt: undefined,
  ...more,
})

/** A list over a store and a feed that the test moves. */
async function setUp(more: { readonly gatherMs?: number } = {}) {
  const listeners = new Set<(change: Change) => void>()
  const at = { now: 0, heard: 0 }
  const state = { failing: false, told: true, written: [] as Map<string, number>[] }
  const tell = () => {
    for (const listener of listeners) listener({ kind: 'api-keys' })
  }
  const kept = createMemoryApiKeys()
  const memory = memoryApiKeys(kept, () => state.told && tell())
  const guarded =
    <A extends unknown[], R>(run: (...args: A) => R) =>
    (...args: A): R => {
      if (state.failing) throw new Unavailable('down')
      return run(...args)
    }
  const store: ApiKeyStore = {
    list: guarded(memory.list),
    append: guarded(memory.append),
    noteUsed: async (uses) => {
      await guarded(memory.noteUsed)(uses)
      state.written.push(new Map(uses))
    },
    lastUsed: async (ids) => guarded(memory.lastUsed)(ids),
  }
  const feed = {
    subscribe: (listener: (change: Change) => void) => {
      listeners.add(listener)
      return () => void listeners.delete(listener)
    },
    heardAt: () => at.heard,
  }
  const open = () => openApiKeyList({ store, feed, maxStalenessMs: 5000, clock: () => at.now, ...more })
  return { open, store: memory, at, state, tell, listeners }
}

describe('the list of API keys', () => {
  const open: ApiKeyList[] = []
  afterEach(async () => {
    for (const list of open.splice(0)) await list.close()
  })
  const listOf = async (made: Awaited<ReturnType<typeof setUp>>) => {
    const list = await made.open()
    open.push(list)
    return list
  }
  const idOf = (found: ReturnType<ApiKeyList['find']>) => (typeof found === 'object' ? found.id : found)

  it('finds a key by its digest, those of before it was opened and those that it makes', async () => {
    const at = await setUp()
    await at.store.append(record('old'))
    const list = await listOf(at)
    equal(idOf(list.find('digest of old')), 'old')
    equal(list.find('digest of new'), undefined)
    await list.put(record('new'))
    deepEqual(list.find('digest of new'), record('new'))
    equal(list.size(), 2)
    deepEqual(
      [...list.all()].map(({ id }) => id),
      ['old', 'new'],
    )
  })

  it('hears of keys that others make and revoke, and never takes a revocation back', async () => {
    const at = await setUp()
    const list = await listOf(at)
    const revoked: string[] = []
    const end = list.onRevoked(({ id }) => revoked.push(id))
    await at.store.append(record('a'))
    await until('the key', () => idOf(list.find('digest of a')) === 'a')
    await at.store.append(record('a', { revokedAt: now }))
    await until('the revocation', () => (list.find('digest of a') as ApiKeyRecord).revokedAt === now)
    deepEqual(revoked, ['a'])
    await list.put(record('a', { revokedAt: now + 5 }))
    await list.put(record('a'))
    equal((list.find('digest of a') as ApiKeyRecord).revokedAt, now)
    deepEqual(revoked, ['a'])
    end()
    await list.put(record('b', { revokedAt: now }))
    deepEqual(revoked, ['a'])
  })

  it('finds nothing any more once the feed was not heard for too long, and everything again once it was', async () => {
    const at = await setUp()
    await at.store.append(record('a'))
    const list = await listOf(at)
    at.at.now = 5000
    equal(idOf(list.find('digest of a')), 'a')
    equal(list.trusted(), true)
    at.at.now = 5001
    equal(list.find('digest of a'), 'unavailable')
    equal(list.find('digest of another'), 'unavailable')
    equal(list.trusted(), false)
    at.at.heard = 5001
    equal(idOf(list.find('digest of a')), 'a')
  })

  it('finds nothing where state could not be read at the start, until it can', async () => {
    const at = await setUp()
    await at.store.append(record('a'))
    at.state.failing = true
    const list = await listOf(at)
    equal(list.find('digest of a'), 'unavailable')
    await rejects(list.put(record('b')), Unavailable)
    at.state.failing = false
    await until('the key', () => idOf(list.find('digest of a')) === 'a', 2000)
    equal(list.find('digest of b'), undefined)
  })

  it('is not believed from the moment on that it was told of a change that it cannot read', async () => {
    const at = await setUp()
    const list = await listOf(at)
    at.at.now = at.at.heard = 1000
    at.state.failing = true
    at.tell()
    at.at.now = at.at.heard = 6000
    await sleep(20)
    equal(list.find('x'), undefined)
    at.at.now = at.at.heard = 6001
    equal(list.find('x'), 'unavailable')
    at.state.failing = false
    await until('the reading', () => list.find('x') === undefined, 2000)
  })

  it('asks state for an id that it does not know yet', async () => {
    const at = await setUp()
    const list = await listOf(at)
    at.state.told = false
    await at.store.append(record('silent'))
    equal(list.find('digest of silent'), undefined)
    equal((await list.byId('silent'))?.id, 'silent')
    equal(await list.byId('never'), undefined)
  })

  it('keeps no key that Redis has lost, and takes no revocation back', async function () {
    this.timeout(10_000)
    const redis = await startRedis()
    const state = await openRedisState({ place: { url: redis.url }, realm: 'default' })
    try {
      const list = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs: 60_000 })
      open.push(list)
      for (const id of ['lost', 'kept', 'revoked']) await list.put(record(id))
      await list.put(record('revoked', { revokedAt: now }))
      // Nothing is saved: it comes back empty, or as a replica that did not get the last writes.
      await redis.kill()
      await redis.start()
      const client = redis.client()
      for (const id of ['kept', 'revoked']) await client.xadd('postern:default:api-keys', '*', 'key', JSON.stringify(record(id)))
      await until('the loss', () => list.find('digest of lost') === undefined, 5000)
      await until('the others', () => list.size() === 2, 2000)
      equal((list.find('digest of kept') as ApiKeyRecord).revokedAt, undefined)
      equal(await list.byId('lost'), undefined)
      await client.flushall()
      await until('the other to be gone', () => list.find('digest of kept') === undefined, 2000)
      equal((list.find('digest of revoked') as ApiKeyRecord).revokedAt, now)
      await list.put(record('next'))
      equal(idOf(list.find('digest of next')), 'next')
    } finally {
      await state.close()
      await redis.stop()
    }
  })

  it('reads all that many make at once', async () => {
    const at = await setUp()
    const list = await listOf(at)
    for (let i = 0; i < 500; i++) void at.store.append(record(`k${i}`))
    await until('all of them', () => list.size() === 500, 1000)
  })

  it('notes a use at most once a minute, gathered, and tells it before it is written', async () => {
    const at = await setUp({ gatherMs: 30 })
    const list = await listOf(at)
    await list.put(record('a'))
    await list.put(record('b'))
    const [a, b] = ['digest of a', 'digest of b'].map((digest) => list.find(digest) as ApiKeyRecord)
    const ms = now * 1000
    for (let i = 0; i < 100; i++) list.used(a!, ms + i)
    list.used(b!, ms + 2000)
    deepEqual(
      await list.lastUsed(['a', 'b', 'c']),
      new Map([
        ['a', now],
        ['b', now + 2],
      ]),
    )
    await until('the note', () => at.state.written.length === 1)
    deepEqual([...at.state.written[0]!], [...(await at.store.lastUsed(['a', 'b']))])
    list.used(a!, ms + 59_999)
    await sleep(60)
    equal(at.state.written.length, 1)
    list.used(a!, ms + 60_000)
    await until('the next', () => at.state.written.length === 2)
    deepEqual([...at.state.written[1]!], [['a', now + 60]])
  })

  it('keeps uses that could not be written for later, and writes what is left at its end', async () => {
    const at = await setUp({ gatherMs: 10 })
    const list = await listOf(at)
    await list.put(record('a'))
    await list.put(record('b'))
    const ms = now * 1000
    at.state.failing = true
    list.used(list.find('digest of a') as ApiKeyRecord, ms)
    await sleep(50)
    at.state.failing = false
    list.used(list.find('digest of b') as ApiKeyRecord, ms)
    await list.close()
    deepEqual([...(await at.store.lastUsed(['a', 'b'])).keys()].sort(), ['a', 'b'])
    equal(at.listeners.size, 0)
  })

  it('takes an end that came nearer since, and none that went away', async () => {
    const at = await setUp()
    const list = await listOf(at)
    await list.put(record('a'))
    await at.store.append(record('a', { expiresAt: now + 60 }))
    await until('the nearer end', () => (list.find('digest of a') as ApiKeyRecord).expiresAt === now + 60)
    await list.put(record('a', { expiresAt: now + 600 }))
    await list.put(record('a'))
    equal((list.find('digest of a') as ApiKeyRecord).expiresAt, now + 60)
  })

  it('has no key of a digest that its record had before', async () => {
    const list = await listOf(await setUp())
    await list.put(record('a'))
    await list.put(record('a', { digest: 'another', revokedAt: now }))
    equal(list.find('digest of a'), undefined)
    equal(list.size(), 1)
  })

  it('admits nobody by a row of a SQLite file that another hand made unreadable, and finds the others', async () => {
    const folder = temporaryFolder()
    const state = await openSqliteState({ path: folder.file('p.db'), realm: 'default' })
    const shell = new DatabaseSync(folder.file('p.db'))
    try {
      for (const id of ['end', 'revoked', 'roles', 'scopes', 'made', 'good']) await state.apiKeys.append(record(id))
      const list = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs: 5000 })
      open.push(list)
      shell.exec(`UPDATE api_keys SET expires_at = '2020-01-01' WHERE id = 'end'; UPDATE api_keys SET revoked_at = 'now' WHERE id = 'revoked';
        UPDATE api_keys SET roles = 'viewer' WHERE id = 'roles'; UPDATE api_keys SET scopes = '"a"' WHERE id = 'scopes';
        UPDATE api_keys SET created_at = 'x', expires_at = 9e99 WHERE id = 'made';`)
      const ended = (of: ApiKeyList, id: string) => apiKeyEnd(of.find(`digest of ${id}`) as ApiKeyRecord) <= now
      await until('the changed rows', () => ['end', 'revoked', 'roles', 'scopes', 'made'].every((id) => ended(list, id)))
      const later = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs: 5000 })
      open.push(later)
      for (const id of ['end', 'revoked', 'roles', 'scopes', 'made']) ok(ended(later, id), id)
      for (const one of [list, later]) equal(idOf(one.find('digest of good')), 'good')
    } finally {
      for (const list of open.splice(0)) await list.close()
      shell.close()
      await state.close()
      folder.remove()
    }
  })

  it('admits no key of a stream that another hand took out of Redis, and those of the next one', async () => {
    const redis = await startRedis()
    const state = await openRedisState({ place: { url: redis.url }, realm: 'default' })
    try {
      const client = redis.client()
      const list = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs: 5000 })
      open.push(list)
      await list.put(record('a'))
      equal(idOf(list.find('digest of a')), 'a')
      await client.del('postern:default:api-keys')
      await until('no key', () => list.find('digest of a') === undefined)
      await list.put(record('b'))
      equal(list.size(), 1)
      await client
        .multi()
        .del('postern:default:api-keys')
        .xadd('postern:default:api-keys', '*', 'key', JSON.stringify(record('c')))
        .exec()
      await until('the other key', () => idOf(list.find('digest of c')) === 'c')
      equal(list.find('digest of b'), undefined)
    } finally {
      for (const list of open.splice(0)) await list.close()
      await state.close()
      await redis.stop()
    }
  })

  it('notes the use of any number of keys in Redis', async function () {
    this.timeout(20_000)
    const redis = await startRedis()
    try {
      const client = redis.client()
      const store = redisApiKeys({ run: (commands) => commands(client) }, 'api-keys', 'used')
      await store.noteUsed(new Map(Array.from({ length: 100_000 }, (_, i) => [`key ${i}`, i])))
      equal(await client.hlen('used'), 100_000)
      deepEqual([...(await store.lastUsed(['key 99999', 'key 0'])).values()], [99_999, 0])
    } finally {
      await redis.stop()
    }
  })

  it('forgets in a SQLite file what ended more than 90 days ago', async () => {
    const folder = temporaryFolder()
    const state = await openSqliteState({ path: folder.file('p.db'), realm: 'default' })
    try {
      await state.apiKeys.append(record('gone', { expiresAt: now - apiKeyKept - 60 }))
      await state.apiKeys.noteUsed(new Map([['gone', 1]]))
      await state.apiKeys.append(record('revoked', { revokedAt: now - apiKeyKept - 60, expiresAt: now + 60 }))
      await state.apiKeys.append(record('a'))
      deepEqual(
        (await state.apiKeys.list()).entries.map(({ id }) => id),
        ['a'],
      )
      equal((await state.apiKeys.lastUsed(['gone'])).size, 0)
    } finally {
      await state.close()
      folder.remove()
    }
  })

  it('forgets in Redis what ended more than 90 days ago, the key and its revocation together', async () => {
    const redis = await startRedis()
    const state = await openRedisState({ place: { url: redis.url }, realm: 'default' })
    try {
      const client = redis.client()
      const store = redisApiKeys({ run: (commands) => commands(client) }, 'postern:default:api-keys', 'postern:default:api-keys:used', 0)
      await store.append(record('gone'))
      await store.append(record('a'))
      await store.append(record('gone', { revokedAt: now - apiKeyKept - 60 }))
      await client.xadd('postern:default:api-keys', '*', 'key', '{"id":"damaged"}')
      await client.xadd('postern:default:api-keys', '*', 'key', JSON.stringify({ ...record('forever'), expiresAt: 'soon' }))
      await client.xadd(
        'postern:default:api-keys',
        '*',
        'key',
        JSON.stringify(record('never')).replace('"createdAt"', '"expiresAt":1e999,"createdAt"'),
      )
      await store.noteUsed(new Map([['gone', 1]]))
      await sleep(5)
      await store.list()
      await until('the sweep', async () => (await client.hlen('postern:default:api-keys:used')) === 0)
      deepEqual(
        (await state.apiKeys.list()).entries.map(({ id }) => id),
        ['a'],
      )
    } finally {
      await state.close()
      await redis.stop()
    }
  })

  it('takes little memory for many keys', async function () {
    this.timeout(30_000)
    const count = 50_000
    const page = 1000
    // As JSON, so that nothing is shared between them but by the list itself.
    const text = (i: number) =>
      JSON.stringify({ ...record(`0198f0c4-7d3a-7c21-b3f5-${String(i).padStart(12, '0')}`), digest: String(i).padStart(64, 'a'), name: '' })
    const store: ApiKeyStore = {
      list: (after = '0') => {
        const from = Number(after)
        const entries = Array.from({ length: Math.min(page, count - from) }, (_, i) => JSON.parse(text(from + i)) as ApiKeyRecord)
        return { anew: from === 0, entries, cursor: String(from + entries.length), more: from + entries.length < count }
      },
      append: async () => {},
      noteUsed: async () => {},
      lastUsed: async () => new Map(),
    }
    const { gc } = globalThis
    const used = () => {
      gc?.()
      return process.memoryUsage().heapUsed
    }
    const before = used()
    const feed = { subscribe: () => () => {}, heardAt: () => Number.POSITIVE_INFINITY }
    const list = await openApiKeyList({ store, feed, maxStalenessMs: 5000 })
    open.push(list)
    equal(list.size(), count)
    const each = (used() - before) / count
    console.log(`      ${Math.round(each)} bytes a key${gc ? '' : ' (garbage among them)'}`)
    if (gc) ok(each < 800, `${each} bytes`)
  })
})
