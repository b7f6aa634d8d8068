import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { hosts } from '../../bench/direct/envoys.ts'
import { measure, type Round, ways } from '../../bench/direct/measure.ts'
import { policyText } from '../../bench/direct/policy.ts'
import { percentile, report } from '../../bench/direct/report.ts'
import { readPolicy } from '../../src/config/read.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('the benchmark of direct routing', () => {
  it('has percentiles that are values', () => {
    const values = Array.from({ length: 200 }, (_, i) => 200 - i)
    assert.deepEqual([percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1), percentile([7], 0.99)], [100, 198, 200, 7])
  })

  it('asks each way for as many new sandboxes, in changing order, twice each, and forgets them after each round', async () => {
    const asked: string[] = []
    let made = 0
    let forgotten = 0
    const rounds = await measure({
      ...{ rounds: 2, sandboxes: 3, warmup: 1 },
      make: async () => `s${++made}`,
      forget: async () => void forgotten++,
      ask: async (host, path) => asked.push(`${host}${path}`),
      said: () => {},
    })
    assert.deepEqual([rounds.length, made, forgotten, asked.length], [2, 21, 3, 42])
    assert.ok(rounds.every((round) => ways.every((way) => round[way].first.length === 3 && round[way].second.length === 3)))
    const first = asked.filter((_, i) => i % 2 === 0)
    assert.deepEqual(
      first,
      asked.filter((_, i) => i % 2 === 1),
    )
    assert.equal(new Set(first).size, 21)
    assert.ok(new Set(first.map((one, i) => `${i % 3} ${one.split('/')[0]}`)).size > 3)
  })

  it('compares within rounds', () => {
    const times = (by: number) => ({ first: [1000 * by, 1000 * by], second: [500 * by, 500 * by] })
    const round = (slow: number): Round => ({ direct: times(slow), hop: times(2 * slow), lookup: times(3 * slow) })
    const text = report([round(1), round(10)])
    assert.match(text, /the router told the address +\| +4 \| +11\.00 \| .* 2\.00 \(2\.00–2\.00\)/)
    assert.match(text, /looks it up in Redis \| .* 3\.00 \(3\.00–3\.00\)/)
  })

  it('has a policy that the edge and the router can be given', async () => {
    const folder = temporaryFolder()
    try {
      const file = folder.file('postern.yaml')
      writeFileSync(file, policyText('/run/x.sock', 9192, 'redis://127.0.0.1:6379/0'), { mode: 0o600 })
      const read = await readPolicy({ file, env: {} })
      assert.ok(read.ok, JSON.stringify(read))
      assert.deepEqual(
        read.loaded.policy.routes.routes.map(({ id, owner }) => [id, owner?.direct]),
        Object.keys(hosts).map((id) => [id, true]),
      )
    } finally {
      folder.remove()
    }
  })
})
