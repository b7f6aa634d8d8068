import assert from 'node:assert/strict'
import { bounds, judge, outcomeOf } from '../../bench/bounds.ts'
import type { RowResult, Sample } from '../../bench/results.ts'
import { allRows } from '../../bench/rows/index.ts'

const sample = (cpu_us: number): Sample => ({ cpu_us, rate: 1, requests: 1, p50_us: 1, p90_us: 1, p99_us: 1, rss_mb: cpu_us })
const row = (id: string, ...cpu: (number | null)[]): RowResult => ({
  id,
  group: 'servers',
  title: id,
  ours: false,
  samples: cpu.map((value) => (value === null ? null : sample(value))),
})
const bound = { what: 'half', row: 'ours', metric: 'cpu_us', reference: 'theirs', limit: 0.5 } as const
const judged = (rows: RowResult[]) => judge({ rows }, [bound]).map(({ outcome, measured }) => [outcome, measured?.median])

describe('the promises of the benchmark', () => {
  it('are kept by a median within the limit', () => {
    assert.deepEqual(judged([row('ours', 5, 4, 9), row('theirs', 10, 10, 10)]), [['kept', 0.5]])
  })

  it('are broken only where no round of three or more kept them', () => {
    assert.deepEqual(judged([row('ours', 6, 7, 6), row('theirs', 10, 10, 10)]), [['broken', 0.6]])
    assert.deepEqual(judged([row('ours', 6, 7, 4), row('theirs', 10, 10, 10)]), [['unclear', 0.6]])
    assert.deepEqual(judged([row('ours', 6, 6, null), row('theirs', 10, 10, 10)]), [['unclear', 0.6]])
  })

  it('are never kept by what was not measured', () => {
    assert.deepEqual(judged([row('ours', null, null), row('theirs', 10, 10)]), [['missing', undefined]])
    assert.equal(outcomeOf(undefined, 1), 'missing')
  })

  it('are left out where their rows were not chosen', () => assert.deepEqual(judged([row('ours', 9)]), []))

  it('bound a value itself where there is no reference', () => {
    const [verdict] = judge({ rows: [row('memory', 140, 160)] }, [{ what: 'MB', row: 'memory', metric: 'rss_mb', limit: 150 }])
    assert.equal(verdict?.outcome, 'kept')
  })

  it('name rows that exist', () => {
    const ids = allRows.map(({ id }) => id)
    assert.equal(new Set(ids).size, ids.length)
    for (const { row, reference } of bounds) {
      assert(ids.includes(row), row)
      if (reference !== undefined) assert(ids.includes(reference), reference)
    }
  })
})
