import assert from 'node:assert/strict'
import { drawCharts } from '../../bench/documents.ts'
import { barChart } from '../../bench/plot.ts'
import { megabytesPerMillionLabels, tables } from '../../bench/report.ts'
import { joined, type RowResult } from '../../bench/results.ts'
import { markdownTable, number, ranged, ratio } from '../../bench/table.ts'

const result = (id: string, cpu: number, more: Partial<RowResult> = {}): RowResult => ({
  id,
  group: 'servers',
  title: id,
  ours: false,
  samples: [1, 1.5, 2].map((times) => ({
    cpu_us: cpu * times,
    rate: 20_000,
    requests: 9,
    p50_us: 900,
    p90_us: 2000,
    p99_us: 5000,
    rss_mb: cpu,
  })),
  ...more,
})

describe('tables of the benchmark', () => {
  it('align their columns, text to the left and numbers to the right', () => {
    assert.equal(
      markdownTable(
        ['server', 'µs'],
        [
          ['Postern', '5'],
          ['x', '19.5'],
        ],
      ),
      ['| server  |   µs |', '| ------- | ---: |', '| Postern |    5 |', '| x       | 19.5 |'].join('\n'),
    )
  })

  it('show three digits, and a dash for what is missing', () => {
    assert.deepEqual([4.634, 46.34, 463.4].map(number), ['4.63', '46.3', '463'])
    assert.equal(ranged({ median: 19.5, min: 18.9, max: 121.4, count: 3 }), '19.5 (18.9–121)')
    assert.equal(ratio({ median: 0.4, min: 0.356, max: 1, count: 3 }), '0.40 (0.36–1.00)')
    assert.equal(ranged(undefined), '–')
  })

  it('put each row against the reference of its group, and say what was not measured', () => {
    const rows = [
      result('grpc-go', 50),
      result('postern', 20, { version: '0.1.0' }),
      { ...result('opa', 1), samples: [], problem: 'no Go' },
    ]
    const text = tables({ rows }, () => 'grpc-go')
    assert.match(text, /\| postern \(0\.1\.0\) +\| 30\.0 \(20\.0–40\.0\) \| +20000 .*\| 5\.00 \(5\.00–5\.00\) \| +0\.40 \(0\.40–0\.40\) \|/)
    assert.match(text, /\| opa +\| +– \|/)
    assert.match(text, /opa: no Go/)
  })

  it('tell what a million labels take', () => {
    const rows = [result('near-1k', 100), result('near-1m', 499.6)]
    assert.equal(Math.round(megabytesPerMillionLabels({ rows }) ?? 0), 400)
    assert.equal(megabytesPerMillionLabels({ rows: [] }), undefined)
  })
})

describe('charts of the benchmark', () => {
  const value = { median: 50, min: 40, max: 100, count: 3 }

  it('draw each bar to scale, from zero', () => {
    const svg = barChart({
      title: 't',
      measure: 'µs',
      bars: [
        { label: 'a', value },
        { label: 'b', value: { median: 25, min: 25, max: 25, count: 3 } },
      ],
    })
    const widths = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(([, width]) => Number(width))
    assert.equal(widths.length, 2)
    assert.equal(widths[0], widths[1]! * 2)
  })

  it('escape what they are given', () => {
    const svg = barChart({ title: 'a <b> & "c"', measure: '', bars: [{ label: '<script>', value }] })
    assert(svg.includes('a &lt;b&gt; &amp; &quot;c&quot;'))
    assert(!svg.includes('<script>'))
  })

  it('are drawn for groups that were measured', () => {
    const drawn = drawCharts({ rows: [result('grpc-go', 50), result('postern', 20, { ours: true })] })
    assert.deepEqual([...drawn.keys()], ['cpu-a-check.svg'])
  })
})

describe('results of several runs', () => {
  it('are joined by groups, and name their run', () => {
    const of = (commit: string, ...rows: RowResult[]) => ({
      postern: { version: '1', commit, changed: false },
      date: commit,
      machine: {},
      versions: {},
      settings: {},
      rows,
    })
    const earlier = joined(undefined, of('a', result('grpc-go', 1), result('work-postern', 2, { group: 'work' })))
    const all = joined(earlier, of('b', result('postern', 3)))
    assert.deepEqual(
      all.rows.map(({ id, run }) => [id, run?.commit]),
      [
        ['work-postern', 'a'],
        ['postern', 'b'],
      ],
    )
  })
})
