import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { Pool } from '../../src/compose/pool.ts'

describe('pool of what outlives a policy', () => {
  it('makes anew what could not be made, and survives closing it', async () => {
    const closed: string[] = []
    const pool = new Pool<Promise<string>>(async (thing) => closed.push(await thing), 0)
    const failing = pool.get('k', () => Promise.reject(new Error('refused')))
    await assert.rejects(failing)
    await turn()
    assert.equal(await pool.get('k', async () => 'made'), 'made')
    await pool.close()
    assert.deepEqual(closed, ['made'])
  })

  it('closes at its end what was replaced and still waits out its grace', async () => {
    const closed: string[] = []
    const pool = new Pool<string>((thing) => closed.push(thing), 60_000)
    pool.get('old', () => 'old')
    pool.sweep()
    pool.get('new', () => 'new')
    pool.sweep()
    assert.deepEqual([pool.values(), closed], [['new'], []])
    await pool.close()
    assert.deepEqual(closed, ['new', 'old'])
  })
})
