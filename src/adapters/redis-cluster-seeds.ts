import { Unavailable } from '../core/ports.ts'
import { createRedis } from './redis-client.ts'
import { type ClusterView, readView, type SeenNode } from './redis-cluster-view.ts'
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

/**
 * Asks all of them at once, each over a connection of its own that ends with the answer. Never throws. Command: CLUSTER NODES.
 * @param seeds named by the settings
 * @param before primaries that were known: who knows none of them may be another cluster that was given their address, and counts
 *   only where it is a seed and nobody else answers
 */
export async function seedViews(place: ClusterPlace, seeds: readonly RedisServer[], before: readonly SeenNode[]): Promise<SeedViews> {
  const asked = new Map([...before, ...seeds].map((server) => [told(server), server]))
  const ids = new Set(before.map(({ id }) => id))
  const found = await Promise.all(
    [...asked.values()].map(async (server) => {
      try {
        const view = await ask(place, server)
        if (!view.quorate) return `${told(server)}: it does not reach most of the primaries`
        const known = view.nodes.some(({ id }) => ids.has(id))
        return known || seeds.includes(server) ? { view, known } : `${told(server)}: it is of another cluster than before`
      } catch (error) {
        return `${told(server)}: ${describe(error)}`
      }
    }),
  )
  const answers = found.filter((one) => typeof one !== 'string')
  const faults = found.filter((one) => typeof one === 'string')
  const views = answers.filter(({ known }) => known || !answers.some((other) => other.known)).map(({ view }) => view)
  return { views, fault: views.length > 0 ? undefined : `Redis Cluster: no node tells where keys are (${faults.join('; ')})` }
}

async function ask(place: ClusterPlace, server: RedisServer): Promise<ClusterView> {
  const redis = createRedis(entryOptions(place, server))
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
