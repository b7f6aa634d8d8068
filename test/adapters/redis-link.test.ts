import { ok } from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { createRedisLink } from '../../src/adapters/redis-link.ts'

describe('the link to a Redis that is away', function () {
  this.timeout(20_000)
  it('tries again soon, then less often, and no two of them at the same times', async () => {
    const tries: number[][] = []
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.destroy()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    const links = Array.from({ length: 8 }, (_, i) => {
      const own: number[] = []
      tries[i] = own
      // Asked for the url once for each session.
      const place = {
        get url() {
          own.push(performance.now())
          return `redis://127.0.0.1:${port}`
        },
      }
      return createRedisLink({ place, invalidated: () => {}, restored: () => {} })
    })
    try {
      await Promise.all(links.map((link) => link.start()))
      await sleep(6000)
    } finally {
      for (const link of links) await link.close()
      server.close()
    }
    const gaps = tries.map((times) => {
      // Reads of one session lie together.
      const starts = times.filter((time, i) => i === 0 || time - times[i - 1]! > 15)
      return starts.slice(1).map((time, i) => time - starts[i]!)
    })
    for (const each of gaps) {
      ok(each.length >= 8 && each.length <= 16, `${each.length} attempts`)
      ok(each[0]! < 150, `${each[0]} ms before the second`)
      const late = each.slice(6)
      ok(
        late.every((gap) => gap > 450 && gap < 1600),
        late.join(),
      )
    }
    // Of the waits that could be a second, some are much shorter than others.
    const late = gaps.flatMap((each) => each.slice(6))
    ok(Math.max(...late) - Math.min(...late) > 150, late.join())
  })
})
