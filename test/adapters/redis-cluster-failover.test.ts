import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { openNearCache } from '../../src/adapters/near-cache.ts'
import { openRedisState, type RedisState } from '../../src/adapters/redis-state.ts'
import { openRevocationList } from '../../src/adapters/revocation-list.ts'
import { ownerLedger } from '../support/owner-ledger.ts'
import { type RunningCluster, startCluster } from '../support/redis-cluster.ts'
import { until } from '../support/until.ts'

const settings = { size: 1000, ttlMs: 30_000, negativeTtlMs: 20_000, maxStaleMs: 0 }
const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (id: string) => `postern:default:labels:sandbox:${id}`

describe('a Redis Cluster that loses primaries', function () {
  this.timeout(40_000)
  let cluster: RunningCluster
  before(async () => {
    const flags = ['--cluster-require-full-coverage', 'no', '--min-replicas-to-write', '1', '--repl-ping-replica-period', '1']
    cluster = await startCluster({ replicas: 1, nodeTimeout: 700, flags })
  })
  after(() => cluster?.stop())
  const ends: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  const open = async (): Promise<RedisState> => {
    const state = await openRedisState({ place: { cluster: cluster.hosts.slice(0, 3), tls: false }, realm: 'default' })
    ends.push(state.close)
    return state
  }
  const nearCache = (state: RedisState) => {
    const cache = openNearCache({ sources: new Map([[undefined, { reader: state.labels, feed: state.feed }]]), settings })
    return (id: string) => cache.labels(undefined, 'sandbox', id)
  }

  it('reads what was acknowledged, or nothing, when one is killed, and goes on with the replica that takes over', async () => {
    const [one, two] = [await open(), await open()]
    equal(one.durability().confirming, 1)
    const list = await openRevocationList({ store: two.revocations, feed: two.feed, maxStalenessMs: 1000 })
    ends.push(async () => list.close())
    const check = (subject: string) => list.check({ subject, issuedAt: 0 }, Date.now())
    const revoke = (target: string) =>
      one.revocations.append({ level: 'subject', target, at: Math.floor(Date.now() / 1000), until: 99_999_999_999 })
    await revoke('early')
    const looks = [nearCache(one), nearCache(two)]
    const ledger = ownerLedger()
    const ids = Array.from({ length: 24 }, (_, i) => `f${i}`)
    // The primary that has all that is not labels.
    const dying = await cluster.ownerOf('{default}')
    const its: string[] = []
    for (const id of ids) if ((await cluster.ownerOf(key(id))) === dying) its.push(id)
    ok(its.length > 0 && its.length < ids.length)
    for (const id of ids) {
      await ledger.wrote(id, 'first', () => one.labels.write('sandbox', id, owned('first')))
      ledger.write(id, (name) => one.labels.write('sandbox', id, owned(name)), 50)
      for (const look of looks) ledger.read(id, () => look(id), 20)
    }
    await sleep(1000)
    equal(ledger.counts.unavailable, 0)
    deepEqual(ledger.faults, [])

    const killedAt = performance.now()
    await dying.kill()
    await until('the distrust', () => performance.now() - two.feed.heardAt('sandbox', its[0]!) > 1000, 2000)
    match(two.fault() ?? '', /^Redis Cluster, 1 of 3 primaries: /)
    await until('all to be answered again', () => its.every((id) => ledger.answeredAt(id) > killedAt + 1000), 15_000)
    const took = performance.now() - killedAt
    await until('no fault', () => two.fault() === undefined && one.fault() === undefined, 5000)
    await until('the revocation', () => check('early') === 'revoked' && check('nobody') === 'clear', 5000)
    // The new primary has no replica, and so takes no write until the old one is back as one.
    await dying.start()
    const backAt = performance.now()
    await until(
      'writes',
      () =>
        revoke('late').then(
          () => true,
          () => false,
        ),
      15_000,
    )
    await until('the late one', () => check('late') === 'revoked', 1000)
    await sleep(1500)
    await ledger.stop()
    deepEqual(ledger.wrong, [])
    ok(performance.now() - backAt < 20_000)
    console.log(
      `      answered again ${Math.round(took)} ms after the kill, with a cluster-node-timeout of 700 ms; ${JSON.stringify(ledger.counts)}`,
    )
  })

  it('turns to the new primary where one is replaced by hand, and never to the old one again', async () => {
    const state = await open()
    const look = nearCache(state)
    await until(
      'writes',
      () =>
        state.labels.write('sandbox', 'hand', owned('alice')).then(
          () => true,
          () => false,
        ),
      10_000,
    )
    const old = await cluster.ownerOf(key('hand'))
    await look('hand')
    const id = await cluster.idOf(old)
    const views = await Promise.all(
      cluster.nodes.map(async (node) => [node, String(await cluster.client(node).call('CLUSTER', 'NODES'))] as const),
    )
    const [replica] = views.find(([, text]) => text.split('\n').some((line) => line.includes('myself,slave') && line.includes(id))) ?? []
    await cluster.client(replica!).call('CLUSTER', 'FAILOVER')
    await until('the failover', async () => (await cluster.ownerOf(key('hand'))) === replica, 10_000)
    // The old primary is its replica before long, and not yet.
    await cluster.client(replica!).config('SET', 'min-replicas-to-write', '0')
    await cluster.client(replica!).hset(key('hand'), 'agentcube.io/owner', 'bob')
    await until(
      'bob',
      async () => {
        try {
          return (await look('hand')).labels?.get('agentcube.io/owner') === 'bob'
        } catch {
          return false
        }
      },
      1000,
    )
    await until('no fault', () => state.fault() === undefined, 3000)
    for (let i = 0; i < 20; i++) {
      equal((await look('hand')).labels?.get('agentcube.io/owner'), 'bob')
      await sleep(20)
    }
  })

  it('believes no old primary that comes back from a pause', async () => {
    const state = await open()
    const look = nearCache(state)
    await until(
      'writes',
      () =>
        state.labels.write('sandbox', 'pause', owned('alice')).then(
          () => true,
          () => false,
        ),
      10_000,
    )
    const old = await cluster.ownerOf(key('pause'))
    await look('pause')
    const others = cluster.nodes.filter((node) => node !== old)
    const claimed = async () => {
      for (const node of others) {
        const line = String(await cluster.client(node).call('CLUSTER', 'NODES'))
        const myself = line.split('\n').find((one) => one.includes('myself,master'))
        if (myself === undefined || myself.split(' ').length < 9) continue
        const found = await cluster
          .client(node)
          .hgetall(key('pause'))
          .catch(() => undefined)
        if (found !== undefined) return node
      }
      return undefined
    }
    old.hang()
    let by: Awaited<ReturnType<typeof claimed>>
    try {
      by = await until('another primary', claimed, 15_000)
      await cluster.client(by).config('SET', 'min-replicas-to-write', '0')
      await cluster.client(by).hset(key('pause'), 'agentcube.io/owner', 'bob')
    } finally {
      old.resume()
    }
    const resumed = performance.now()
    const seen = new Set<string | undefined>()
    while (performance.now() - resumed < 2500) {
      try {
        seen.add((await look('pause')).labels?.get('agentcube.io/owner'))
      } catch {}
      await sleep(5)
    }
    deepEqual([...seen], ['bob'])
  })
})
