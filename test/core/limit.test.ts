import assert from 'node:assert/strict'
import { createLimit } from '../../src/core/limit.ts'

describe('a limit of failures', () => {
  let now = 0
  const limit = createLimit(5, 20, () => now)
  it('looks without taking', () => {
    for (let i = 0; i < 100; i++) assert.equal(limit.wait('a'), 0)
    assert.equal(limit.take('a'), 0)
  })
  it('has those wait who failed many times at once, for all of them', () => {
    for (let i = 0; i < 120; i++) limit.spend('b')
    assert.equal(limit.wait('b'), 21)
    assert.equal(limit.take('b'), 21)
    now += 20_000
    assert.equal(limit.wait('b'), 1)
    now += 200
    assert.equal(limit.wait('b'), 0)
  })
  it('forgives what is more than a minute of them', () => {
    for (let i = 0; i < 100_000; i++) limit.spend('c')
    assert.equal(limit.wait('c'), 61)
    assert.equal(limit.wait('d'), 0)
  })
})
