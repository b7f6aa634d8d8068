import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import type { Redis } from 'ioredis'
import { type JsonSource, openJsonSource } from '../../src/adapters/json-source.ts'
import { openNearCache } from '../../src/adapters/near-cache.ts'
import { parsePointer, resolvePointer } from '../../src/core/json-pointer.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const options = { name: 'agentcube', key: 'session:{id}', owner: '/ownerId', ownerLabel: 'agentcube.io/owner' }

describe('JSON pointer', () => {
  it('is read as RFC 6901 says', () => {
    // The document and the table of RFC 6901, section 5.
    const document = { foo: ['bar', 'baz'], '': 0, 'a/b': 1, 'c%d': 2, 'e^f': 3, 'g|h': 4, 'i\\j': 5, 'k"l': 6, ' ': 7, 'm~n': 8 }
    const table: [string, unknown][] = [
      ['', document],
      ['/foo', ['bar', 'baz']],
      ['/foo/0', 'bar'],
      ['/', 0],
      ['/a~1b', 1],
      ['/c%d', 2],
      ['/e^f', 3],
      ['/g|h', 4],
      ['/i\\j', 5],
      ['/k"l', 6],
      ['/ ', 7],
      ['/m~0n', 8],
      ['/foo/2', undefined],
      ['/foo/-', undefined],
      ['/foo/01', undefined],
      ['/foo/length', undefined],
      ['/toString', undefined],
      ['/foo/0/0', undefined],
    ]
    for (const [pointer, value] of table) deepEqual(resolvePointer(document, parsePointer(pointer)!), value, pointer)
    for (const bad of ['foo', '/a~2', '/a~']) equal(parsePointer(bad), undefined)
  })
})

describe('source of type json', function () {
  this.timeout(20_000)
  let redis: RunningRedis
  let client: Redis
  let source: JsonSource

  before(async () => {
    redis = await startRedis()
    client = redis.client()
    const rights = '+ping +subscribe +client|id +client|tracking +client|trackinginfo +get'
    await client.call(
      'ACL',
      'SETUSER',
      'reader',
      'on',
      '>pass',
      'resetchannels',
      '&__redis__:invalidate',
      '~session:*',
      ...rights.split(' '),
    )
    source = await openJsonSource({ ...options, place: { url: `redis://reader:pass@127.0.0.1:${redis.port}` } })
  })
  after(async () => {
    await source?.close()
    await redis?.stop()
  })
  const read = async (id: string) => await source.reader.read('session', id)

  it('needs one right on keys: to get them', () => equal(source.fault(), undefined))

  it('hands on the owner under the owner label', async () => {
    await client.set('session:s1', JSON.stringify({ ownerId: 'alice', kind: 'code-interpreter' }))
    deepEqual(await read('s1'), { labels: new Map([['agentcube.io/owner', 'alice']]) })
  })

  it('knows no resource where there is no key', async () => equal(await read('never'), undefined))

  it('has a record without owner for whatever names none', async () => {
    const values = [
      '',
      '{',
      'null',
      '"alice"',
      '[]',
      '{}',
      '{"ownerId":""}',
      '{"ownerId":null}',
      '{"ownerId":7}',
      '{"ownerId":["alice"]}',
      '{"ownerId":{"a":1}}',
    ]
    values.push(JSON.stringify({ ownerId: 'alice', padding: 'x'.repeat(70_000) }))
    for (const [i, value] of values.entries()) {
      await client.set(`session:n${i}`, value)
      deepEqual(await read(`n${i}`), { labels: new Map() }, value.slice(0, 40))
    }
    await client.hset('session:hash', 'ownerId', 'alice')
    deepEqual(await read('hash'), { labels: new Map() })
  })

  it('tells the near cache of what the platform writes, removes and lets expire', async () => {
    const cache = openNearCache({
      sources: new Map([['agentcube', source]]),
      settings: { size: 10, ttlMs: 30_000, negativeTtlMs: 30_000, maxStaleMs: 0 },
    })
    const owner = async () => (await cache.labels('agentcube', 'session', 's2')).labels?.get('agentcube.io/owner')
    equal(await owner(), undefined)
    for (const name of ['alice', 'bob']) {
      await client.set('session:s2', JSON.stringify({ ownerId: name }))
      await until(name, async () => (await owner()) === name, 1000)
      equal((await cache.labels('agentcube', 'session', 's2')).cache, 'hit')
    }
    await client.del('session:s2')
    await until('the end', async () => (await owner()) === undefined, 1000)
    await client.set('session:s2', JSON.stringify({ ownerId: 'carol' }), 'PX', 200)
    await until('carol', async () => (await owner()) === 'carol', 150)
    await until('the expiry', async () => (await owner()) === undefined, 1200)
    cache.close()
  })

  it('is unavailable, and says why, where its Redis is not there or its user may not read', async () => {
    const port = await freePort()
    const away = await openJsonSource({ ...options, place: { url: `redis://127.0.0.1:${port}` } })
    match(away.fault() ?? '', /ECONNREFUSED/)
    await rejects(async () => await away.reader.read('session', 's1'), Unavailable)
    await away.close()
    const other = await openJsonSource({ ...options, key: 'other:{id}', place: { url: redis.url, username: 'reader', password: 'pass' } })
    await rejects(
      async () => await other.reader.read('session', 's1'),
      (error: Error) => error instanceof Unavailable && /NOPERM/.test(error.message),
    )
    await other.close()
  })

  it('refuses a template without an id and an owner that is no pointer', async () => {
    for (const bad of [{ key: 'session' }, { key: '{id}:{id}' }, { owner: 'ownerId' }])
      await rejects(
        openJsonSource({ ...options, ...bad, place: { url: redis.url } }),
        (error: Error) => error.name === 'StateRefused' && /agentcube/.test(error.message),
      )
    ok(true)
  })
})
