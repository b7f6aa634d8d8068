import { deepEqual, equal, ok } from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { createRevocationTable, tableParts } from '../../src/adapters/revocation-table.ts'

const now = 1_800_000_000
const any = Number.NEGATIVE_INFINITY
const million = 1_000_000

/** Whether the table refuses what was issued at `iat`, at `when`. */
const refuses = (table: ReturnType<typeof createRevocationTable>, level: number, target: string, iat: number, when: number): boolean => {
  table.aim(target)
  return table.covers(level, when, iat)
}
const pruneAll = (table: ReturnType<typeof createRevocationTable>, when: number): void => {
  for (let part = 0; part < tableParts; part++) table.prune(part, when)
}

describe('revocation table', () => {
  it('keeps levels apart, and counts them', () => {
    const table = createRevocationTable(6)
    deepEqual([table.put(0, 'a', now, now + 1), table.put(5, 'a', now, now + 1), table.put(5, 'b', now, now + 1)], [true, true, true])
    deepEqual(
      [0, 1, 2, 3, 4, 5].map((level) => refuses(table, level, 'a', any, now)),
      [true, false, false, false, false, true],
    )
    deepEqual([table.count(0), table.count(4), table.count(5), table.size()], [1, 0, 2, 3])
  })

  it('keeps the later of both times, and says what is news', () => {
    const table = createRevocationTable(1)
    equal(table.put(0, 'a', now, now + 10), true)
    equal(table.put(0, 'a', now - 5, now + 9), false)
    equal(table.put(0, 'a', now - 5, now + 20), true)
    equal(table.put(0, 'a', now + 5, now + 1), true)
    deepEqual([table.get(0, 'a'), table.get(0, 'b'), table.size()], [{ at: now + 5, until: now + 20 }, undefined, 1])
  })

  it('rounds so that more is refused, and takes what is beyond 32 bits for ever', () => {
    const table = createRevocationTable(1)
    table.put(0, 'a', now + 0.1, now + 0.1)
    equal(refuses(table, 0, 'a', now + 1, now + 1), true)
    equal(refuses(table, 0, 'a', now + 1.1, now + 1), false)
    equal(refuses(table, 0, 'a', now, now + 1.1), false)
    for (const [i, end] of [2 ** 32 - 1, 2 ** 40, Number.POSITIVE_INFINITY, Number.NaN].entries()) {
      table.put(0, `end ${i}`, end, end)
      equal(refuses(table, 0, `end ${i}`, 2 ** 32 - 1, 2 ** 41), true)
    }
    equal(table.put(0, 'never', now, 0), false)
    equal(table.put(0, 'negative', -5, now), true)
    deepEqual(table.get(0, 'negative'), { at: 0, until: now })
    pruneAll(table, 2 ** 41)
    equal(table.size(), 4)
  })

  it('tells targets apart that differ little: one letter, the length, halves that change places, more than 16 bits', () => {
    const table = createRevocationTable(1)
    const near = [
      '',
      '\0',
      '\0\0',
      '\0\0\0',
      'a',
      'a\0',
      'ab',
      'ba',
      'abc',
      'abcd',
      'cdab',
      'abcde',
      'ábcde',
      '😀',
      '\ud83d',
      '\ude00',
      'x'.repeat(2047),
    ]
    for (const [i, target] of near.entries()) {
      equal(refuses(table, 0, target, any, now), false, `${i}`)
      table.put(0, target, now, now + 1)
    }
    equal(table.size(), near.length)
  })

  it('has another hash in each process, and the same for the same seed', () => {
    const places = (seed?: Int32Array<ArrayBuffer>): string => {
      const table = createRevocationTable(1, seed)
      const grown: number[] = []
      for (let i = 0; i < 3000; i++) {
        const before = table.bytes()
        table.put(0, `t${i}`, now, now)
        if (table.bytes() > before) grown.push(i)
      }
      return grown.join()
    }
    equal(places(new Int32Array([1, 2])), places(new Int32Array([1, 2])))
    ok(new Set([places(), places(), places(new Int32Array([1, 2])), places(new Int32Array([2, 1]))]).size === 4)
  })

  it('answers as a Map would, whatever is put and pruned', () => {
    const target = fc.oneof(
      fc.integer({ min: 0, max: 40 }).map((n) => `t${n}`),
      fc.string({ unit: 'binary', maxLength: 12 }),
    )
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.tuple(fc.constant('put' as const), fc.nat(2), target, fc.nat(50), fc.integer({ min: 1, max: 50 })) },
      { weight: 1, arbitrary: fc.tuple(fc.constant('prune' as const), fc.integer({ min: 0, max: 60 })) },
    )
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.tuple(fc.integer(), fc.integer()),
        fc.nat(60),
        fc.nat(60),
        (steps, seed, when, iat) => {
          const table = createRevocationTable(3, new Int32Array(seed))
          const model = new Map<string, { level: number; target: string; at: number; until: number }>()
          for (const one of steps) {
            if (one[0] === 'prune') {
              pruneAll(table, one[1])
              for (const [key, { until }] of model) if (until < one[1]) model.delete(key)
              continue
            }
            const [, level, name, at, until] = one
            const key = `${level} ${name}`
            const known = model.get(key)
            const news = known === undefined || at > known.at || until > known.until
            equal(table.put(level, name, at, until), news)
            model.set(key, { level, target: name, at: Math.max(at, known?.at ?? 0), until: Math.max(until, known?.until ?? 0) })
          }
          equal(table.size(), model.size)
          for (const level of [0, 1, 2]) equal(table.count(level), [...model.values()].filter((entry) => entry.level === level).length)
          for (const { level, target: name, at, until } of model.values()) {
            deepEqual(table.get(level, name), { at, until })
            equal(refuses(table, level, name, iat, when), until >= when && iat <= at)
            const other = (level + 1) % 3
            equal(refuses(table, other, name, any, when), (model.get(`${other} ${name}`)?.until ?? -1) >= when)
          }
        },
      ),
      { numRuns: 300 },
    )
  })

  it('finds each of a hundred thousand when most others around it have been pruned, and gives the room back', () => {
    const table = createRevocationTable(1)
    for (let i = 0; i < 100_000; i++) table.put(0, `jti-${i}`, now, i % 10 === 0 ? now + 100 : now + 1)
    const full = table.bytes()
    pruneAll(table, now + 2)
    equal(table.size(), 10_000)
    ok(table.bytes() < full / 4, `${table.bytes()} of ${full}`)
    for (let i = 0; i < 100_000; i++) equal(refuses(table, 0, `jti-${i}`, any, now), i % 10 === 0)
    pruneAll(table, now + 200)
    deepEqual([table.size(), table.bytes()], [0, 0])
  })

  it('holds a million in 50 MB, each of them found, while no insertion takes long', function () {
    this.timeout(60_000)
    const ids = Array.from({ length: million }, () => randomUUID())
    const fill = (took: (i: number, ms: number) => void) => {
      const table = createRevocationTable(6)
      let checks = 0
      for (let i = 0; i < million; i += 1) {
        // Of this thread's own time: what else the machine does in between is no slow insertion.
        const begun = process.threadCpuUsage()
        table.put(i % 6, ids[i]!, now, now + 600)
        const { user, system } = process.threadCpuUsage(begun)
        took(i, (user + system) / 1000)
        if (i % 64 === 0) {
          const back = i - (i % 7)
          ok(refuses(table, back % 6, ids[back]!, now, now))
          checks += 1
        }
      }
      return { table, checks }
    }
    // Room is made at the same entry each time, while a garbage collection falls on another one.
    const best = new Float64Array(million).fill(Number.POSITIVE_INFINITY)
    const note = (i: number, ms: number) => {
      best[i] = Math.min(best[i]!, ms)
    }
    fill(note)
    fill(note)
    const { table, checks } = fill(note)
    const longest = best.reduce((most, ms) => Math.max(most, ms), 0)
    let missing = 0
    for (let i = 0; i < million; i++) if (!refuses(table, i % 6, ids[i]!, now, now)) missing += 1
    let foreign = 0
    for (let i = 0; i < million; i++) if (refuses(table, (i + 1) % 6, ids[i]!, any, now)) foreign += 1
    deepEqual([table.size(), missing, foreign], [million, 0, 0])
    const mb = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`
    console.log(`      1,000,000: slots ${mb(table.bytes())}, longest insertion ${longest.toFixed(2)} ms, ${checks} checks between`)
    ok(table.bytes() < 50e6, mb(table.bytes()))
    ok(longest < 50, `${longest} ms`)
  })
})
