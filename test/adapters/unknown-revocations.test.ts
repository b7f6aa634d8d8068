import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { openRevocationList, type RevocationList } from '../../src/adapters/revocation-list.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import type { State } from '../../src/core/ports.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

/** A place where somebody else can write what we would not. */
interface Place {
  readonly open: (onFault: (fault: string | undefined) => void) => Promise<State>
  readonly write: (level: string, target: string, at: string, until: string) => Promise<unknown>
  readonly remove: (level: string) => Promise<unknown>
  readonly close: () => Promise<void>
}

async function inFile(): Promise<Place> {
  const folder = temporaryFolder()
  const path = folder.file('postern.db')
  await (await openSqliteState({ path, realm: 'default' })).close()
  const shell = new DatabaseSync(path)
  return {
    open: (onFault) => openSqliteState({ path, realm: 'default', onFault }),
    write: async (level, target, at, until) =>
      shell
        .prepare('INSERT INTO revocations (realm, level, target, at, until) VALUES (?, ?, ?, ?, ?)')
        .run('default', level, target, at, until),
    remove: async (level) => shell.prepare('DELETE FROM revocations WHERE level = ?').run(level),
    close: async () => {
      shell.close()
      folder.remove()
    },
  }
}

async function inRedis(): Promise<Place> {
  const redis = await startRedis()
  const client = redis.client()
  const key = 'postern:default:revocations'
  const ids = new Map<string, string>()
  return {
    open: (onFault) => openRedisState({ place: { url: redis.url }, realm: 'default', onFault }),
    write: async (level, target, at, until) =>
      ids.set(level, String(await client.xadd(key, '*', 'level', level, 'target', target, 'at', at, 'until', until))),
    remove: (level) => client.xdel(key, ids.get(level)!),
    close: redis.stop,
  }
}

for (const [name, prepare] of [
  ['a file', inFile],
  ['Redis', inRedis],
] as const) {
  describe(`revocations in ${name} that this version did not write`, () => {
    let place: Place
    let state: State
    let list: RevocationList
    const faults: (string | undefined)[] = []
    const far = '99999999999'
    const check = (subject: string) => list.check({ subject, issuedAt: 1_800_000_000 }, Date.now())

    beforeEach(async () => {
      place = await prepare()
      faults.length = 0
      state = await place.open((fault) => faults.push(fault))
      list = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 400 })
    })
    afterEach(async () => {
      list.close()
      await state.close()
      await place.close()
    })

    it('of a level that it does not know let nothing through any more, and say so, until they are gone', async () => {
      equal(check('alice'), 'clear')
      await place.write('galaxy', 'milky way', '1', far)
      await until('the refusal', () => check('alice') === 'unavailable', 2000)
      await until('the fault', () => state.fault() !== undefined, 1000)
      match(state.fault() ?? '', /of the level "galaxy" .* expected token, subject, agent, task, chain, client/)
      ok(faults.includes(state.fault()), faults.join())
      const later = await openRevocationList({ store: state.revocations, feed: state.feed, maxStalenessMs: 400 })
      equal(later.check({ subject: 'alice', issuedAt: 1 }, Date.now()), 'unavailable')
      later.close()
      await place.remove('galaxy')
      await until('the recovery', () => check('alice') === 'clear', 2000)
      equal(state.fault(), undefined)
      equal(faults.at(-1), undefined)
    })

    it('of such a level do not matter once they have ended', async () => {
      await place.write('galaxy', 'milky way', '1', '5')
      await place.write('subject', 'alice', far, far)
      await until('the one that has not', () => check('alice') === 'revoked', 1000)
      deepEqual([check('bob'), state.fault()], ['clear', undefined])
    })

    it('with times that nobody can read are in force for ever', async () => {
      await place.write('subject', 'alice', 'yesterday', 'tomorrow')
      await until('the refusal', () => check('alice') === 'revoked', 1000)
      equal(check('bob'), 'clear')
    })

    it('with a lift whose instant nobody can read are not lifted', async () => {
      await place.write('subject', 'alice', '1800000000', far)
      await place.write('lift:subject', 'alice', 'now', far)
      await until('the refusal', () => check('alice') === 'revoked', 1000)
      equal((await list.known('subject', 'alice'))?.lifted, false)
    })
  })
}
