import { Redis } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { type ClusterView, readView } from './redis-cluster-view.ts'
import { describe, RedisRefusal, unavailable } from './redis-fault.ts'
import { type RedisServer, told } from './redis-finder.ts'
import { type ClusterPlace, entryOptions } from './redis-options.ts'
import { connect } from './redis-session.ts'

/** What nodes that were asked said of the cluster. */
export interface SeedViews {
  readonly views: readonly ClusterView[]
  /** Why nobody knows; undefined where somebody does. */
  readonly fault: string | undefined
}

/** Asks all of them at once, each over a connection of its own that ends with the answer. Never throws. Command: CLUSTER NODES. */
export async function seedViews(place: ClusterPlace, servers: readonly RedisServer[]): Promise<SeedViews> {
  const asked = new Map(servers.map((server) => [told(server), server]))
  const found = await Promise.all(
    [...asked.values()].map(async (server) => {
      try {
        const view = await ask(place, server)
        return view.quorate ? view : `${told(server)}: it does not reach most of the primaries`
      } catch (error) {
        return `${told(server)}: ${describe(error)}`
      }
    }),
  )
  const views = found.filter((one) => typeof one !== 'string')
  const faults = found.filter((one) => typeof one === 'string')
  return { views, fault: views.length > 0 ? undefined : `Redis Cluster: no node tells where keys are (${faults.join('; ')})` }
}

async function ask(place: ClusterPlace, server: RedisServer): Promise<ClusterView> {
  const redis = new Redis({ ...entryOptions(place, server), replyMapping: 'legacy' })
  try {
    await connect(redis)
    return readView(String(await redis.call('CLUSTER', 'NODES')), server, place.tls)
  } catch (error) {
    const failure = unavailable(told(server), error)
    // "This instance has cluster support disabled" has no code of its own.
    if (failure instanceof RedisRefusal && failure.code === 'ERR')
      throw new Unavailable('it is no node of a cluster, or knows no CLUSTER NODES')
    throw error
  } finally {
    redis.disconnect()
    redis.stream?.destroy()
  }
}
