import { deepEqual, equal, ok } from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import type { State } from '../../src/core/ports.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { at } from './owned.ts'

const few = 10_000
/** How many labels stand beside those few; the full run has 10,000,000 (POSTERN_TEST_LABELS), which take about 2 GB. */
const many = Number(process.env['POSTERN_TEST_LABELS'] ?? 300_000)
const warmup = 2000
const looks = 20_000

const idOf = (i: number) => `0199f3c2-7b1e-7${i.toString(16).padStart(7, '0')}`
const ownerOf = (i: number) => `person-${i % 50_000}`

/** Fills a Redis by its protocol, without waiting for replies. */
async function fill(redis: RunningRedis, count: number): Promise<void> {
  const socket = connect(redis.port, '127.0.0.1')
  socket.write('CLIENT REPLY OFF\r\n')
  const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`
  for (let i = 0; i < count; ) {
    let batch = ''
    for (const end = Math.min(count, i + 5000); i < end; i++)
      batch += `*4\r\n$4\r\nHSET\r\n${bulk(`postern:default:labels:sandbox:${idOf(i)}`)}${bulk('agentcube.io/owner')}${bulk(ownerOf(i))}`
    if (!socket.write(batch)) await once(socket, 'drain')
  }
  socket.end()
  const client = redis.client()
  await until('the labels', async () => (await client.dbsize()) === count, 300_000)
}

describe('cold look-ups among many labels', function () {
  this.timeout(600_000)
  const opened: { readonly redis: RunningRedis; readonly state: State; readonly count: number; readonly times: number[] }[] = []

  before(async () => {
    for (const count of [few, many]) {
      const redis = await startRedis()
      await fill(redis, count)
      opened.push({ redis, count, state: await openRedisState({ place: { url: redis.url }, realm: 'default' }), times: [] })
    }
  })
  after(async () => {
    for (const { redis, state } of opened) {
      await state.close()
      await redis.stop()
    }
  })

  it('cost about the same, however many there are', async () => {
    const look = async ({ state, count, times }: (typeof opened)[number], counts: boolean) => {
      const i = Math.floor(Math.random() * count)
      const begun = performance.now()
      const found = await state.labels.read('sandbox', idOf(i))
      if (counts) times.push(performance.now() - begun)
      equal(found?.labels.get('agentcube.io/owner'), ownerOf(i))
    }
    // One here and one there, so that what the machine does beside it falls on both; the first ones do not count.
    for (let n = -warmup; n < looks; n++) for (const one of opened) await look(one, n >= 0)
    for (const { redis, count, times } of opened) {
      times.sort((a, b) => a - b)
      const memory = Number(/^used_memory:(\d+)/m.exec(await redis.client().info('memory'))?.[1])
      const us = (part: number) => Math.round(at(times, part) * 1000)
      console.log(
        `      ${count.toLocaleString('en')} labels: p50 ${us(0.5)} µs, p99 ${us(0.99)} µs over ${times.length} look-ups; Redis holds ${(memory / 1e6).toFixed(0)} MB`,
      )
    }
    const ratio = (part: number) => at(opened[1]!.times, part) / at(opened[0]!.times, part)
    console.log(`      ratio p50 ${ratio(0.5).toFixed(2)}, p99 ${ratio(0.99).toFixed(2)}`)
    // One round trip each; the rest is what the processor's caches hold.
    ok(ratio(0.5) < 4, `p50 ${ratio(0.5)}`)
  })

  it('take one command each', async () => {
    const { redis, state } = opened[1]!
    const calls = async () => Number(/cmdstat_hgetall:calls=(\d+)/.exec(await redis.client().info('commandstats'))?.[1] ?? 0)
    const before = await calls()
    for (let i = 0; i < 100; i++) await state.labels.read('sandbox', idOf(i))
    deepEqual((await calls()) - before, 100)
  })
})
