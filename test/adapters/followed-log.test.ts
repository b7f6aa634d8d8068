import { deepEqual, equal, rejects } from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import { type FollowedLog, followLog } from '../../src/adapters/followed-log.ts'
import { type Change, Unavailable } from '../../src/core/ports.ts'
import { until } from '../support/until.ts'

/** A log of numbers in pages of three, that the test makes slow, fail, and begin anew. */
async function setUp(entries: number[] = []) {
  const listeners = new Set<(change: Change) => void>()
  const at = { now: 0, heard: 0, failing: false, epoch: 0, slow: false, lists: 0, ended: () => {} }
  const taken: (number | string)[] = []
  const list = async (after?: string) => {
    at.lists += 1
    if (at.slow) await turn()
    if (at.failing) throw new Unavailable('down')
    const [epoch, told] = after?.split(' ') ?? []
    const from = epoch === String(at.epoch) ? Number(told) : 0
    const page = entries.slice(from, from + 3)
    const more = from + 3 < entries.length
    return {
      anew: from === 0 && (after === undefined || epoch !== String(at.epoch)),
      entries: page,
      cursor: `${at.epoch} ${from + page.length}`,
      more,
    }
  }
  const tell = (kind: 'keys' | 'api-keys' = 'api-keys') => {
    for (const listener of listeners) listener({ kind })
  }
  const log = await followLog<number>({
    log: { list },
    feed: {
      subscribe: (listener) => {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      heardAt: () => at.heard,
    },
    kind: 'api-keys',
    take: (entry) => void taken.push(entry),
    begins: () => void taken.push('begins'),
    ends: () => {
      taken.push('ends')
      at.ended()
    },
    clock: () => at.now,
  })
  return { log, entries, taken, at, tell, listeners }
}

describe('a log that is followed', () => {
  let log: FollowedLog | undefined
  afterEach(() => log?.close())
  const follow = async (entries?: number[]) => {
    const made = await setUp(entries)
    log = made.log
    return made
  }

  it('is taken from its beginning, in pages, and then only what is new', async () => {
    const { entries, taken, tell } = await follow([1, 2, 3, 4])
    deepEqual(taken.splice(0), ['begins', 1, 2, 3, 4, 'ends'])
    entries.push(5)
    tell()
    await until('the new one', () => taken.includes(5))
    deepEqual(taken, [5, 'ends'])
    tell('keys')
    await turn()
    deepEqual(taken, [5, 'ends'])
  })

  it('is taken whole again where it begins anew', async () => {
    const { taken, at, tell } = await follow([1, 2, 3, 4])
    taken.length = 0
    at.epoch = 1
    tell()
    await until('the end', () => taken.includes('ends'))
    deepEqual(taken, ['begins', 1, 2, 3, 4, 'ends'])
  })

  it('loses no change that is told at whatever moment of a reading', async () => {
    const { entries, taken, at, tell, log } = await follow()
    at.slow = true
    for (let i = 1; i <= 300; i++) {
      entries.push(i)
      tell()
      // As far into a reading as chance will have it.
      for (let j = i % 7; j > 0; j--) await (j % 2 === 0 ? turn() : undefined)
    }
    await until('all of them', () => taken.includes(300), 2000)
    deepEqual(
      taken.filter((one) => typeof one === 'number'),
      entries,
    )
    await until('the end', () => log.wholeUntil() === at.heard)
  })

  it('loses no change that is told just as a reading ends', async () => {
    const { entries, taken, at, tell, log } = await follow()
    for (let turns = 0; turns < 10; turns++) {
      at.ended = () => {
        at.ended = () => {}
        let later = Promise.resolve()
        for (let i = 0; i < turns; i++) later = later.then(() => {})
        void later.then(() => {
          entries.push(100 + turns)
          tell()
        })
      }
      entries.push(turns)
      tell()
      await until(`the change ${turns} turns later`, () => taken.includes(100 + turns), 1000)
      await until('all to be known', () => log.wholeUntil() === at.heard, 1000)
      at.now = at.heard += 1
    }
  })

  it('is known up to the first change that could not be read', async () => {
    const { at, tell, log } = await follow([1])
    at.now = at.heard = 100
    equal(log.wholeUntil(), 100)
    at.failing = true
    tell()
    at.now = at.heard = 200
    tell()
    await turn()
    equal(log.wholeUntil(), 100)
    at.failing = false
    await until('the reading', () => log.wholeUntil() === 200)
  })

  it('catches up with what nobody told, one reading at a time', async () => {
    const { entries, taken, at, tell, log } = await follow([1, 2, 3, 4, 5, 6, 7])
    taken.length = 0
    at.slow = true
    at.epoch = 1
    entries.push(8)
    tell()
    await Promise.all([log.catchUp(), log.catchUp(), log.catchUp()])
    deepEqual(taken.slice(0, 10), ['begins', 1, 2, 3, 4, 5, 6, 7, 8, 'ends'])
    equal(taken.filter((one) => one === 'begins').length, 1)
    at.failing = true
    await rejects(log.catchUp(), Unavailable)
  })

  it('is left alone once it is closed', async () => {
    const { at, tell, log, listeners } = await follow([1])
    log.close()
    equal(listeners.size, 0)
    tell()
    await turn()
    equal(at.lists, 1)
  })
})
