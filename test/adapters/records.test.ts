import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type State, Unavailable } from '../../src/core/ports.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

/** Whether every call says that state is away, and none that there is nothing. */
async function allUnavailable({ records }: State): Promise<void> {
  await rejects(async () => records.read('app', 'a'), Unavailable)
  await rejects(records.write('app', { id: 'b', value: {}, until: 0 }, undefined), Unavailable)
  await rejects(records.remove('app', 'a'), Unavailable)
  await rejects(async () => records.list('app', 10), Unavailable)
  await rejects(async () => records.expired('app', 10, 10), Unavailable)
}

describe('records in Redis', () => {
  let redis: RunningRedis
  let state: State
  before(async () => {
    redis = await startRedis(['--appendonly', 'yes', '--appendfsync', 'always'])
    state = await openRedisState({ place: { url: redis.url }, realm: 'default' })
  })
  after(async () => {
    await state?.close()
    await redis?.stop()
  })

  it('are unavailable while Redis is away, and there again with it', async () => {
    const revision = await state.records.write('app', { id: 'a', value: { n: 1 }, until: 5 }, undefined)
    await redis.kill()
    await until('the loss is noticed', () => state.fault() !== undefined)
    await allUnavailable(state)
    await redis.start()
    await until('it is back', () => state.fault() === undefined)
    deepEqual(await state.records.read('app', 'a'), { id: 'a', value: { n: 1 }, until: 5, revision })
    equal((await state.records.expired('app', 6, 10)).length, 1)
    equal(await state.records.read('app', 'b'), undefined)
  })

  it('that another hand wrote are unavailable one by one, and in no list', async () => {
    const client = redis.client()
    const [key, order] = ['postern:default:records:agent', 'postern:default:records:agent:until']
    const broken = ['', 'no json', '[]', '{"revision":"r","until":0}', '{"revision":"r","until":"0","value":{}}', '{"until":0,"value":{}}']
    for (const [i, text] of broken.entries()) await client.hset(key, `b${i}`, text)
    ok(await state.records.write('agent', { id: 'good', value: {}, until: 1 }, undefined))
    for (const i of broken.keys()) await rejects(state.records.read('agent', `b${i}`), Unavailable)
    deepEqual(
      (await state.records.list('agent', 100)).records.map(({ id }) => id),
      ['good'],
    )
    equal(await state.records.write('agent', { id: 'b0', value: {}, until: 0 }, undefined), undefined)
    for (const i of broken.keys()) equal(await state.records.remove('agent', `b${i}`), true)
    // An end without a record, and one that is not that of the record.
    await client.zadd(order, 1, 'nobody', 1, 'good')
    ok(await state.records.write('agent', { id: 'later', value: {}, until: 100 }, undefined))
    await client.zadd(order, 1, 'later')
    deepEqual(
      (await state.records.expired('agent', 50, 10)).map(({ id }) => id),
      ['good'],
    )
    equal(await client.zscore(order, 'nobody'), null)
  })

  it('that nobody can read do not keep others from being swept', async () => {
    const client = redis.client()
    const [key, order] = ['postern:default:records:token', 'postern:default:records:token:until']
    for (let i = 0; i < 25; i++) {
      await client.hset(key, `bad${i}`, '{')
      await client.zadd(order, 1, `bad${i}`)
    }
    for (let i = 0; i < 7; i++) ok(await state.records.write('token', { id: `good${i}`, value: {}, until: 2 + i }, undefined))
    equal((await state.records.expired('token', 50, 10)).length, 7)
    equal((await state.records.expired('token', 50, 5)).length, 5)
  })
})

describe('records in a state file', () => {
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => folder.remove())

  it('are unavailable once it is closed', async () => {
    const state = await openSqliteState({ path: folder.file('postern.db'), realm: 'default' })
    await state.records.write('app', { id: 'a', value: {}, until: 0 }, undefined)
    await state.close()
    await allUnavailable(state)
  })

  it('that another hand wrote are unavailable one by one, and in no list', async () => {
    const path = folder.file('postern.db')
    const { records, close } = await openSqliteState({ path, realm: 'default' })
    const database = new DatabaseSync(path)
    const insert = database.prepare(
      "INSERT INTO records (realm, kind, id, value, until, revision) VALUES ('default', 'agent', ?, ?, ?, 'r')",
    )
    insert.run('b0', 'no json', 0)
    insert.run('b1', '[]', 1)
    insert.run('b2', '{}', 'soon')
    database.close()
    ok(await records.write('agent', { id: 'good', value: {}, until: 1 }, undefined))
    for (const id of ['b0', 'b1', 'b2']) await rejects(async () => records.read('agent', id), Unavailable)
    const found = [(await records.list('agent', 100)).records, await records.expired('agent', 50, 10)]
    for (const part of found)
      deepEqual(
        part.map(({ id }) => id),
        ['good'],
      )
    equal(await records.remove('agent', 'b2'), true)
    await close()
  })

  it('that nobody can read do not keep others from being swept', async () => {
    const path = folder.file('postern.db')
    const { records, close } = await openSqliteState({ path, realm: 'default' })
    const database = new DatabaseSync(path)
    const insert = database.prepare(
      "INSERT INTO records (realm, kind, id, value, until, revision) VALUES ('default', 'token', ?, '{', 1, 'r')",
    )
    for (let i = 0; i < 25; i++) insert.run(`bad${i}`)
    database.close()
    for (let i = 0; i < 7; i++) ok(await records.write('token', { id: `good${i}`, value: {}, until: 2 + i }, undefined))
    equal((await records.expired('token', 50, 10)).length, 7)
    equal((await records.expired('token', 50, 5)).length, 5)
    await close()
  })
})
