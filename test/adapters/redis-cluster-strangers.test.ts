import { deepEqual, match, ok } from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { Unavailable } from '../../src/core/ports.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type RunningCluster, startCluster } from '../support/redis-cluster.ts'
import { until } from '../support/until.ts'

const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])
const key = (id: string) => `postern:default:labels:sandbox:${id}`

describe('an address of a Redis Cluster that another cluster is given', function () {
  this.timeout(30_000)
  let cluster: RunningCluster
  let stranger: RunningRedis | undefined
  before(async () => {
    cluster = await startCluster({ flags: ['--cluster-require-full-coverage', 'no'] })
  })
  after(async () => {
    await stranger?.stop()
    await cluster?.stop()
  })

  /** A cluster of one node, which has every slot and a higher epoch than anybody. */
  const startStranger = async (port: number): Promise<RunningRedis> => {
    const bus = String(await freePort())
    const node = await startRedis(['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-port', bus], port)
    await node.client().call('CLUSTER', 'SET-CONFIG-EPOCH', '100')
    await node.client().call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
    await until('the other cluster', async () => String(await node.client().call('CLUSTER', 'INFO')).includes('cluster_state:ok'))
    return node
  }

  it('is not believed, neither beside the others nor when all of them are silent', async () => {
    const state = await openRedisState({ place: { cluster: cluster.hosts.slice(0, 1), tls: false }, realm: 'default' })
    try {
      const ids: string[] = []
      for (const node of cluster.nodes)
        for (let i = 0; ids.length <= cluster.nodes.indexOf(node); i++)
          if ((await cluster.ownerOf(key(`s-${i}`))) === node) ids.push(`s-${i}`)
      for (const id of ids) await state.labels.write('sandbox', id, owned('alice'))
      const dead = cluster.nodes[2]!
      await dead.kill()
      stranger = await startStranger(dead.port)
      const theirs = stranger.client()
      for (const id of ids) await theirs.hset(key(id), 'agentcube.io/owner', 'mallory')
      const seen = new Set<string>()
      const ownerOf = async (id: string) => {
        try {
          return (await state.labels.read('sandbox', id))?.labels.get('agentcube.io/owner')
        } catch (error) {
          return error instanceof Unavailable ? 'unavailable' : error
        }
      }
      const look = async (ms: number) => {
        for (const end = performance.now() + ms; performance.now() < end; await sleep(20))
          for (const [i, id] of ids.entries()) seen.add(`${i} ${await ownerOf(id)}`)
      }
      await look(2500)
      deepEqual(
        [...seen].filter((one) => one.includes('mallory') || one.includes('undefined')),
        [],
      )
      ok(seen.has('0 alice') && seen.has('1 alice') && seen.has('2 unavailable'), [...seen].join())
      match(state.fault() ?? '', /it is another node than before/)
      for (const node of cluster.nodes.slice(0, 2)) await node.kill()
      await look(2500)
      deepEqual(
        [...seen].filter((one) => one.includes('mallory') || one.includes('undefined')),
        [],
      )
    } finally {
      await state.close()
    }
  })
})
