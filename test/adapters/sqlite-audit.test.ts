import { deepEqual, equal } from 'node:assert/strict'
import { createIds } from '../../src/adapters/ids.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('the size of the audit trail in a file', () => {
  it('is right whoever adds and removes lines, of each realm', async () => {
    const folder = temporaryFolder()
    const path = folder.file('postern.db')
    const newId = createIds()
    const open = (realm: string) => openSqliteState({ path, realm })
    const [one, two, other] = [await open('a'), await open('a'), await open('b')]
    const add = async (to: typeof one, count: number) => {
      const events = Array.from({ length: count }, () => ({
        id: newId(),
        time: new Date().toISOString(),
        type: 'owner_changed' as const,
        outcome: 'success' as const,
        realm: 'a',
      }))
      for (const event of events) await to.audit.commit(event)
    }
    const sizes = async () => [await one.audit.size('events'), await two.audit.size('events'), await other.audit.size('events')]
    deepEqual(await sizes(), [0, 0, 0])
    await add(one, 3)
    deepEqual(await sizes(), [4, 4, 0])
    await add(two, 2)
    await add(other, 1)
    deepEqual(await sizes(), [7, 7, 2])
    const [, second, third] = await one.audit.read('events', { limit: 3 })
    await two.audit.cut('events', second!.cursor)
    deepEqual(await sizes(), [5, 5, 2])
    await add(one, 1)
    await two.audit.cut('events', third!.cursor)
    deepEqual(await sizes(), [5, 5, 2])
    const all = await one.audit.read('events', { limit: 100 })
    await one.audit.cut('events', all.at(-1)!.cursor)
    deepEqual(await sizes(), [0, 0, 2])
    await add(two, 1)
    equal(await one.audit.size('events'), 1)
    await Promise.all([one, two, other].map((state) => state.close()))
    folder.remove()
  })
})
