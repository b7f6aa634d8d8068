import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type State, Unavailable } from '../../src/core/ports.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const far = 99_999_999_999
const revocation = (target: string) => ({ level: 'token', target, at: 1, until: far }) as const

describe('writes to a state file that are asked at once', () => {
  let folder: TemporaryFolder
  let state: State
  beforeEach(async () => {
    folder = temporaryFolder()
    state = await openSqliteState({ path: folder.file('p.db'), realm: 'default' })
  })
  afterEach(async () => {
    await state.close()
    folder.remove()
  })

  it('keep no revocation waiting behind a flood of something else', async () => {
    let done = 0
    const claims = Array.from({ length: 3000 }, async (_, i) => {
      ok(await state.replays.claim(`k${i}`, far))
      done += 1
    })
    await state.revocations.append(revocation('t'))
    ok(done < 600, `it came after ${done} of ${claims.length} others`)
    await Promise.all(claims)
    deepEqual((await state.revocations.list()).entries, [revocation('t')])
    equal(await state.replays.claim('k2999', far), false)
  })

  it('fail one by one', async () => {
    await state.replays.claim('first', far)
    const other = new DatabaseSync(folder.file('p.db'))
    other.exec(`CREATE TRIGGER broken BEFORE INSERT ON replays WHEN NEW.key = 'odd' BEGIN SELECT RAISE(ABORT, 'broken'); END;
      CREATE TRIGGER worse BEFORE INSERT ON replays WHEN NEW.key = 'worse' BEGIN SELECT RAISE(ROLLBACK, 'worse'); END`)
    const claim = (key: string) => state.replays.claim(key, far)
    const asked = ['a', 'odd', 'b', 'a', 'c'].map(async (key) => await claim(key))
    deepEqual(
      (await Promise.allSettled(asked)).map((one) => (one.status === 'fulfilled' ? one.value : one.reason instanceof Unavailable)),
      [true, true, true, false, true],
    )
    await rejects(async () => await claim('odd'), Unavailable)
    // One that ends the whole transaction: nobody is told that what went with it holds.
    const lost = await Promise.allSettled(['d', 'e', 'worse', 'f'].map(async (key) => await claim(key)))
    const there = new Set(
      other
        .prepare('SELECT key FROM replays')
        .all()
        .map(({ key }) => key),
    )
    for (const [i, key] of ['d', 'e', 'worse', 'f'].entries()) equal(lost[i]?.status === 'fulfilled', there.has(key), key)
    ok(!there.has('worse'))
    for (const key of ['a', 'b', 'c']) ok(there.has(key), key)
    other.close()
    ok(await claim('later'))
  })

  it('count as one where one of them decides', async () => {
    const { records } = state
    const revision = await records.write('app', { id: 'a', value: { n: 0 }, until: 0 }, undefined)
    const won = await Promise.all(
      Array.from({ length: 300 }, (_, n) => records.write('app', { id: 'a', value: { n }, until: 0 }, revision)),
    )
    equal(won.filter((one) => one !== undefined).length, 1)
  })

  it('end with the state, whoever waits', async () => {
    const waiting = Array.from({ length: 1000 }, (_, i) => state.revocations.append(revocation(`t${i}`)).then(() => i))
    const settled = Promise.allSettled(waiting)
    await state.close()
    const held = (await settled).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
    state = await openSqliteState({ path: folder.file('p.db'), realm: 'default' })
    const there = new Set((await state.revocations.list()).entries.map(({ target }) => target))
    deepEqual(
      held.filter((i) => !there.has(`t${i}`)),
      [],
    )
  })
})
