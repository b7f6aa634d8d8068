import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { Redis } from 'ioredis'
import { urlFinder } from '../../src/adapters/redis-finder.ts'
import { redisLabels } from '../../src/adapters/redis-labels.ts'
import { linkTo, type RedisLink } from '../../src/adapters/redis-link.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { type LabelStore, Unavailable } from '../../src/core/ports.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'

const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])

async function ids({ list }: LabelStore, meanwhile?: (page: number) => Promise<unknown>): Promise<string[]> {
  const found: string[] = []
  let pages = 0
  for (let cursor: string | undefined; ; ) {
    const page = await list({ resource: 'sandbox' }, 20, cursor)
    found.push(...page.entries.map(({ id }) => id))
    if (page.cursor === undefined) return found
    pages += 1
    ok(pages < 1000, 'the list has no end')
    await meanwhile?.(pages)
    cursor = page.cursor
  }
}

describe('the list of labels in Redis', () => {
  const servers: Awaited<ReturnType<typeof startRedis>>[] = []
  const links: RedisLink[] = []
  const clients: Redis[] = []
  const expected = Array.from({ length: 200 }, (_, n) => `s${n}`).sort()
  const put = (client: Redis, id: string) => client.hset(`postern:default:labels:sandbox:${id}`, 'agentcube.io/owner', 'alice')

  before(async function () {
    this.timeout(60_000)
    for (const id of ['one', 'two', 'three']) {
      const server = await startRedis()
      servers.push(server)
      clients.push(new Redis(server.url, { protocol: 2 }))
      const link = linkTo(urlFinder({ url: server.url }), { invalidated: () => {}, restored: () => {} }, id)
      await link.start()
      links.push(link)
    }
  })
  beforeEach(async () => {
    for (const client of clients) await client.flushall()
    for (const [n, id] of expected.entries()) await put(clients[n % 3]!, id)
  })
  after(async () => {
    for (const client of clients) client.disconnect()
    for (const link of links) await link.close()
    for (const { stop } of servers) await stop()
  })

  /** Three servers as a cluster shows them; their layout is that of the test. */
  let layout = 0
  const several = (): RedisLink => ({ ...links[0]!, nodes: () => links.map((link) => link.nodes()[0]!), layout: () => layout })

  it('goes from one server of several to the next', async () => {
    const labels = redisLabels(several(), 'default', () => {})
    deepEqual([...new Set(await ids(labels))].sort(), expected)
    labels.close()
  })

  it('begins anew where keys have moved between servers, and comes to an end where they always do', async () => {
    const labels = redisLabels(several(), 'default', () => {})
    let moved = false
    const found = await ids(labels, async () => {
      if (moved) return
      moved = true
      layout += 1
      // From where nobody has looked yet to where the list has been.
      for (const [n, id] of expected.entries())
        if (n % 3 === 2) {
          await clients[2]!.del(`postern:default:labels:sandbox:${id}`)
          await put(clients[0]!, id)
        }
    })
    ok(moved)
    deepEqual([...new Set(found)].sort(), expected)
    const restless = await ids(labels, async () => {
      layout += 1
    })
    ok(new Set(restless).size > 0)
    labels.close()
  })

  it('passes over nothing where the server was started anew meanwhile: its cursors meant another order of keys', async () => {
    const server = await startRedis(['--appendonly', 'yes'])
    const state = await openRedisState({ place: { url: server.url }, realm: 'default' })
    try {
      const many = Array.from({ length: 2000 }, (_, i) => ({ resource: 'sandbox', id: `m${i}`, labels: owned('alice') }))
      for (let from = 0; from < many.length; from += 500) await state.labels.writeMany(many.slice(from, from + 500), 'replace')
      const found = await ids(state.labels, async (page) => {
        if (page !== 30) return
        await server.kill()
        await server.start()
        await until('a new session', () => state.fault() === undefined && performance.now() - state.feed.heardAt() < 300)
      })
      equal(new Set(found).size, many.length)
    } finally {
      await state.close()
      await server.stop()
    }
  })

  it('says so where no server is known, or one is gone', async () => {
    const labels = redisLabels({ ...several(), nodes: () => [], fault: () => 'nothing yet' }, 'default', () => {})
    await rejects(
      labels.list({}, 10) as Promise<unknown>,
      (error: Error) => error instanceof Unavailable && error.message === 'nothing yet',
    )
    labels.close()
    await rejects(labels.list({}, 10) as Promise<unknown>, Unavailable)
  })

  it('leaves nothing tracked at the server, and goes on after its connection was cut', async () => {
    const state = await openRedisState({ place: { url: servers[0]!.url }, realm: 'default' })
    try {
      const tracked = async () => Number(/tracking_total_keys:(\d+)/.exec(await clients[0]!.info('stats'))?.[1])
      await state.labels.read('sandbox', 's0')
      const before = await tracked()
      ok(before > 0)
      equal(new Set(await ids(state.labels)).size, 67)
      equal(await tracked(), before)
      let pages = 0
      const found = new Set<string>()
      for (let cursor: string | undefined; ; ) {
        try {
          const page = await state.labels.list({}, 20, cursor)
          for (const { id } of page.entries) found.add(id)
          if (page.cursor === undefined) break
          cursor = page.cursor
        } catch (error) {
          ok(error instanceof Unavailable, String(error))
        }
        pages += 1
        if (pages !== 2) continue
        const open = String(await clients[0]!.client('LIST')).split('\n')
        // That of the list: tracked connections have the flag t.
        const own = open.filter((line) => /cmd=hgetall/.test(line) && !/flags=\S*t/.test(line))
        equal(own.length, 1)
        await clients[0]!.client('KILL', 'ID', /id=(\d+)/.exec(own[0]!)![1]!)
      }
      equal(found.size, 67)
    } finally {
      await state.close()
    }
  })

  it('compares and swaps in one round trip', async () => {
    const state = await openRedisState({ place: { url: servers[0]!.url }, realm: 'default' })
    try {
      const calls = async () =>
        [...(await clients[0]!.info('commandstats')).matchAll(/cmdstat_(eval|evalsha|hgetall|watch|multi):calls=(\d+)/g)].map(
          ([, name, n]) => [name, Number(n)],
        )
      await state.labels.swap('sandbox', 'new', undefined, owned('a'))
      await clients[0]!.config('RESETSTAT')
      await state.labels.swap('sandbox', 'new', owned('a'), owned('b'))
      // The hgetall is the script's own.
      deepEqual(
        new Map((await calls()) as [string, number][]),
        new Map([
          ['eval', 1],
          ['hgetall', 1],
        ]),
      )
    } finally {
      await state.close()
    }
  })
})
