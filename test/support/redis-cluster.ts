import type { Redis } from 'ioredis'
import { slotOf } from '../../src/adapters/redis-slot.ts'
import { freePort } from './free-port.ts'
import { type RunningRedis, startRedis } from './redis.ts'
import { type RedisTls, tlsFlags } from './redis-tls.ts'
import { until } from './until.ts'

export interface ClusterOptions {
  /** Replicas of each of the three primaries. */
  readonly replicas?: number
  /** Further nodes that have no slots. */
  readonly spare?: number
  /** Further flags of every server. */
  readonly flags?: readonly string[]
  /** Milliseconds after which a node that is silent is taken for failing. */
  readonly nodeTimeout?: number
  /** Each node listens with TLS too, on a port of its own, and names that one to those who ask over TLS. */
  readonly tls?: RedisTls
}

export interface RunningCluster {
  /** The three primaries, then their replicas in the same order, then spare ones. */
  readonly nodes: readonly RunningRedis[]
  /** `host:port` of all of them, with TLS where that was asked for. */
  readonly hosts: readonly string[]
  /** The node that has a key now, as `node` sees it. */
  readonly ownerOf: (key: string) => Promise<RunningRedis>
  /** Runs a command at the node that has the key. */
  readonly at: (key: string) => Promise<Redis>
  readonly client: (node: RunningRedis) => Redis
  /** Its id in the cluster. */
  readonly idOf: (node: RunningRedis) => Promise<string>
  /** Gives a slot and its keys to another node. `step` is called in the middle of it: when half of the keys are there. */
  readonly moveSlot: (slot: number, to: RunningRedis, step?: () => Promise<unknown>) => Promise<void>
  readonly stop: () => Promise<void>
}

/** First and last slot of the primary of that number. */
const shares = [
  [0, 5460],
  [5461, 10922],
  [10923, 16383],
] as const

/** Starts three primaries that are a Redis Cluster, without persistence, on free ports of 127.0.0.1. */
export async function startCluster({
  replicas = 0,
  spare = 0,
  flags = [],
  nodeTimeout = 1000,
  tls,
}: ClusterOptions = {}): Promise<RunningCluster> {
  const nodes: RunningRedis[] = []
  /** Those of TLS. */
  const ports: number[] = []
  const clients = new Map<RunningRedis, Redis>()
  const client = (node: RunningRedis) => {
    const made = clients.get(node) ?? node.client()
    clients.set(node, made)
    return made
  }
  const stop = async () => void (await Promise.all(nodes.map((node) => node.stop())))
  const idOf = async (node: RunningRedis) => String(await client(node).call('CLUSTER', 'MYID'))

  try {
    const buses: number[] = []
    for (let i = 0; i < 3 * (1 + replicas) + spare; i++) {
      const bus = await freePort()
      buses.push(bus)
      const secure = tls && (await freePort())
      const secured = tls && secure ? [...tlsFlags(tls, secure), '--tls-cluster', 'yes'] : []
      if (secure) ports.push(secure)
      nodes.push(
        await startRedis([
          ...['--cluster-enabled', 'yes', '--cluster-config-file', 'nodes.conf', '--cluster-node-timeout', String(nodeTimeout)],
          ...['--cluster-port', String(bus), '--repl-diskless-sync-delay', '0', '--cluster-migration-barrier', '9', ...secured, ...flags],
        ]),
      )
    }
    for (const [i, [from, to]] of shares.entries()) {
      await client(nodes[i]!).call('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))
      await client(nodes[i]!).call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to))
    }
    for (const [i, node] of nodes.slice(1).entries())
      await client(nodes[0]!).call('CLUSTER', 'MEET', '127.0.0.1', String(node.port), String(buses[i + 1]))
    const all = async (see: (info: string) => boolean) => {
      for (const node of nodes) if (!see(String(await client(node).call('CLUSTER', 'INFO')))) return false
      return true
    }
    await until(
      'the cluster',
      () => all((info) => info.includes('cluster_state:ok') && info.includes(`known_nodes:${nodes.length}\r`)),
      20_000,
    )
    for (let i = 3; i < 3 * (1 + replicas); i++) await client(nodes[i]!).call('CLUSTER', 'REPLICATE', await idOf(nodes[i % 3]!))
    for (let i = 3; i < 3 * (1 + replicas); i++)
      await until('the replica', async () => (await client(nodes[i]!).info('replication')).includes('master_link_status:up'), 10_000)
    for (const [i, [from, to]] of replicas > 0 ? shares.entries() : []) {
      let key = 0
      while (slotOf(`warm-${key}`) < from || slotOf(`warm-${key}`) > to) key += 1
      // WAIT counts everybody where nothing was written before.
      await until('the replica to have a write', async () => {
        const written = await client(nodes[i]!)
          .set(`warm-${key}`, '1')
          .catch(() => undefined)
        return written === 'OK' && (await client(nodes[i]!).wait(replicas, 100)) === replicas
      })
    }
    // What a node says of its replica reaches the others a little later, and a failover needs it.
    await until('all to know the replicas', async () => {
      for (const node of nodes)
        if ((String(await client(node).call('CLUSTER', 'NODES')).match(/ (?:myself,)?slave /g)?.length ?? 0) < 3 * replicas) return false
      return true
    })
  } catch (error) {
    await stop()
    throw error
  }

  const ownerOf = async (key: string) => {
    const slot = slotOf(key)
    for (const node of nodes) {
      const reply = await client(node)
        .call('CLUSTER', 'NODES')
        .catch(() => '')
      const myself = String(reply)
        .split('\n')
        .find((line) => line.includes('myself,master'))
      const ranges = (myself?.split(' ').slice(8) ?? []).filter((part) => /^\d/.test(part)).map((part) => part.split('-').map(Number))
      if (ranges.some(([from = 0, to = from]) => slot >= from && slot <= to)) return node
    }
    throw new Error(`no node has slot ${slot}`)
  }

  return {
    nodes,
    hosts: nodes.map(({ port }, i) => `127.0.0.1:${ports[i] ?? port}`),
    ownerOf,
    client,
    at: async (key) => client(await ownerOf(key)),
    idOf,
    moveSlot: async (slot, to, step) => {
      let source: RunningRedis | undefined
      for (const node of nodes) {
        const found = await client(node).call('CLUSTER', 'NODES')
        const line = String(found)
          .split('\n')
          .find((one) => one.includes('myself,master'))
        const ranges = (line?.split(' ').slice(8) ?? []).filter((part) => /^\d/.test(part)).map((part) => part.split('-').map(Number))
        if (ranges.some(([from = 0, end = from]) => slot >= from && slot <= end)) source = node
      }
      if (source === undefined) throw new Error(`no node has slot ${slot}`)
      const [fromId, toId] = [await idOf(source), await idOf(to)]
      await client(to).call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId)
      await client(source).call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId)
      const keys = (await client(source).call('CLUSTER', 'GETKEYSINSLOT', slot, 100_000)) as string[]
      for (const [i, key] of keys.entries()) {
        if (i === Math.floor(keys.length / 2)) await step?.()
        await client(source).call('MIGRATE', '127.0.0.1', to.port, key, 0, 5000)
      }
      if (keys.length === 0) await step?.()
      // What was made meanwhile is at the new one already. First the one that gets it (redis-cli does the same).
      await client(to).call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
      await client(source).call('CLUSTER', 'SETSLOT', slot, 'NODE', toId)
    },
    stop,
  }
}
