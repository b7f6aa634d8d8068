import assert from 'node:assert/strict'
import { cpuBetween, cpuTimes, residentBytes, withDescendants } from '../../bench/cpu.ts'

describe('CPU times of the benchmark', () => {
  it('add what each thread ran for; new threads count whole, ended ones no further', () => {
    const before = new Map([
      ['7/7', 100],
      ['7/8', 50],
    ])
    const after = new Map([
      ['7/7', 130],
      ['7/9', 5],
      ['70/70', 1000],
    ])
    assert.equal(cpuBetween(before, after), 1035)
    assert.equal(cpuBetween(before, after, [7]), 35)
  })

  it('tell of processes that have ended nothing', () => {
    assert.equal(cpuTimes([2 ** 22 + 1]).size, 0)
    assert.equal(residentBytes([2 ** 22 + 1]), 0)
  })

  if (process.platform === 'linux')
    it('see this process at work', () => {
      const before = cpuTimes([process.pid])
      const end = performance.now() + 40
      while (performance.now() < end);
      const ran = cpuBetween(before, cpuTimes([process.pid]))
      assert(ran > 1e6 && ran < 1e9, `${ran} ns`)
      assert(withDescendants([process.pid]).includes(process.pid))
      assert(residentBytes([process.pid]) > 1e7)
    })
})
