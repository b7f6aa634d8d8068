import assert from 'node:assert/strict'
import { median, ratioSpread, rotated, spread } from '../../bench/statistics.ts'

describe('statistics of the benchmark', () => {
  it('takes the middle value, or the mean of the two in the middle', () => {
    assert.equal(median([30, 1, 2]), 2)
    assert.equal(median([4, 1, 100, 2]), 3)
    assert.throws(() => median([]), RangeError)
  })

  it('sorts by value, not by text', () => assert.deepEqual(spread([100, 9, 20]), { median: 20, min: 9, max: 100, count: 3 }))

  it('takes ratios within a round, so that a slow machine cancels out', () => {
    // The second round was three times as slow for both; the medians of each row alone would be divided 30 by 10.
    assert.deepEqual(ratioSpread([20, 60, 30], [10, 30, 10]), { median: 2, min: 2, max: 3, count: 3 })
  })

  it('leaves out rounds that one of the two did not finish', () => {
    assert.deepEqual(ratioSpread([undefined, 8, 9], [4, 4, undefined]), { median: 2, min: 2, max: 2, count: 1 })
    assert.equal(ratioSpread([1], [undefined]), undefined)
    assert.equal(ratioSpread([], []), undefined)
  })

  it('takes the rows of each round in another order', () => {
    assert.deepEqual(
      [0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round).join('')),
      ['abc', 'cba', 'bca', 'acb'],
    )
    assert.deepEqual(
      [0, 1, 2, 3].map((round) => rotated(['a', 'b'], round).join('')),
      ['ab', 'ba', 'ba', 'ab'],
    )
    assert.deepEqual(rotated([], 1), [])
  })
})
