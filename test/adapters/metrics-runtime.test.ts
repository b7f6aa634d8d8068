import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { createMetrics } from '../../src/adapters/metrics.ts'
import { until } from '../support/until.ts'

describe('metrics of the process', () => {
  const metrics = createMetrics({ version: '1.2.3' })
  after(metrics.close)
  const page = () => metrics.expose()
  const value = (text: string, series: string) =>
    Number(
      text
        .split('\n')
        .find((line) => line.startsWith(`${series} `))
        ?.slice(series.length),
    )

  it('tell how long the event loop was held up, as a histogram that no scrape resets', async () => {
    await sleep(100)
    const before = await page()
    assert.ok(value(before, 'postern_event_loop_delay_seconds_count') >= 2)
    const end = performance.now() + 120
    while (performance.now() < end) Math.random()
    await sleep(50)
    const after = await page()
    const late = (text: string) =>
      value(text, 'postern_event_loop_delay_seconds_count') - value(text, 'postern_event_loop_delay_seconds_bucket{le="0.05"}')
    assert.ok(late(after) > late(before), after)
    assert.ok(value(after, 'postern_event_loop_delay_seconds_sum') >= value(before, 'postern_event_loop_delay_seconds_sum') + 0.08)
  })

  it('tell pauses for garbage collection by kind', async () => {
    const minor = 'postern_gc_pause_seconds_count{kind="minor"}'
    const before = value(await page(), minor)
    await until('a collection', async () => {
      const filled: unknown[] = []
      for (let i = 0; i < 200_000; i++) filled.push({ i })
      return value(await page(), minor) > before && filled.length > 0
    })
    assert.ok(value(await page(), 'postern_gc_pause_seconds_sum{kind="minor"}') > 0)
  })

  it('go by the names that clients of Prometheus share, each once', async () => {
    const text = await page()
    for (const name of ['process_cpu_seconds_total', 'process_resident_memory_bytes', 'nodejs_heap_size_used_bytes', 'process_open_fds'])
      assert.ok(value(text, name) > 0, name)
    assert.ok(Math.abs(value(text, 'process_start_time_seconds') + process.uptime() - Date.now() / 1000) < 5)
    assert.match(text, /^nodejs_version_info\{version="v\d+/m)
    assert.doesNotMatch(text, /eventloop_lag|gc_duration/)
    const names = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
    assert.equal(new Set(names).size, names.length)
  })
})
