import assert from 'node:assert/strict'
import { createIds } from '../../src/adapters/ids.ts'

const form = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

describe('ids', () => {
  it('have the form of a UUIDv7 and hold the time', () => {
    const id = createIds(() => 0x0199_1234_5678)()
    assert.match(id, form)
    assert.equal(id.slice(0, 13), '01991234-5678')
  })

  it('grow within one millisecond, past the end of the counter, and stay distinct', () => {
    const next = createIds(() => 1_700_000_000_000)
    const ids = Array.from({ length: 20_000 }, next)
    assert.equal(new Set(ids).size, ids.length)
    assert.deepEqual([...ids].sort(), ids)
    for (const id of ids) assert.match(id, form)
  })

  it('grow over a clock that is set back', () => {
    const times = [1000, 1001, 500, 400, 1002]
    const next = createIds(() => times.shift()!)
    const ids = Array.from({ length: 5 }, next)
    assert.deepEqual([...ids].sort(), ids)
    assert.equal(ids[4]!.slice(0, 13), '00000000-03ea')
  })

  it('of two generators differ in one millisecond', () => {
    const [a, b] = [createIds(() => 5), createIds(() => 5)]
    const ids = Array.from({ length: 1000 }, () => [a(), b()]).flat()
    assert.equal(new Set(ids).size, ids.length)
  })

  it('cost less than a microsecond', () => {
    const next = createIds()
    for (let i = 0; i < 50_000; i++) next()
    const begun = performance.now()
    for (let i = 0; i < 200_000; i++) next()
    const nanos = ((performance.now() - begun) * 1e6) / 200_000
    assert.ok(nanos < 1000, `${nanos.toFixed(0)} ns`)
  })
})
