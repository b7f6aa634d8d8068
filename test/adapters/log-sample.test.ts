import assert from 'node:assert/strict'
import { createLogSample } from '../../src/adapters/log-sample.ts'

function sampling(kinds = 10) {
  let now = 0
  const told: (readonly [string | undefined, number])[] = []
  const sample = createLogSample({
    ...{ burst: 3, perSecond: 2, kinds, clock: () => now },
    tell: (kind, suppressed) => told.push([kind, suppressed]),
  })
  return { sample, told, pass: (ms: number) => (now += ms) }
}

describe('log sample', () => {
  it('writes a burst, then so many a second, each with the count of what was not written', () => {
    const { sample, pass, told } = sampling()
    assert.deepEqual(
      Array.from({ length: 6 }, () => sample.admits('a')),
      [0, 0, 0, undefined, undefined, undefined],
    )
    pass(500)
    assert.deepEqual([sample.admits('a'), sample.admits('a')], [3, undefined])
    pass(60_000)
    assert.deepEqual(
      Array.from({ length: 4 }, () => sample.admits('a')),
      [1, 0, 0, undefined],
    )
    sample.close()
    assert.deepEqual(told, [['a', 1]])
  })

  it('does not let one kind use up the lines of another', () => {
    const { sample } = sampling()
    for (let i = 0; i < 1000; i++) sample.admits('a')
    assert.equal(sample.admits('b'), 0)
    sample.close()
  })

  it('has one budget for all kinds beyond those that it tells apart', () => {
    const { sample, told } = sampling(2)
    const admitted = Array.from({ length: 100 }, (_, i) => sample.admits(`kind-${i}`)).filter((count) => count !== undefined)
    assert.equal(admitted.length, 2 + 3)
    sample.close()
    assert.deepEqual(told, [[undefined, 95]])
  })
})
