import { fillRedis } from '../owners.ts'
import { grpcGo } from '../peers/index.ts'
import { startPostern } from '../postern.ts'
import { startRedis } from '../redis.ts'
import type { Row } from '../row.ts'
import { numbered, peerRow, posternRow, posternStarted } from './direct.ts'

const group = 'labels'
const tcp = { group, address: 'tcp' } as const
const million = 1_000_000

/** Nothing goes downstream in this group: tokens are bound to their resource, and minting would hide what labels cost. */
export const labels: readonly Row[] = [
  peerRow(grpcGo, { ...tcp, id: 'labels-grpc-go', title: 'grpc-go, by hand', reference: true }),
  near('near-1k', 'Postern: a thousand labels near, at random', 1_000),
  near('near-1m', 'Postern: a million labels near, at random', million),
  redis('redis-warm', 'Postern: owner in Redis, near', 1_000, 10_000),
  redis('redis-cold', 'Postern: owner in Redis, asked for each time', 200_000, 100),
]

function near(id: string, title: string, count: number): Row {
  const options = { owners: count, cache: { size: 2 * million }, downstream: false }
  return posternRow({ ...tcp, id, title, options, traffic: numbered(count, 'random'), filled: count })
}

/** @param count sandboxes asked for at random @param size of the near cache */
function redis(id: string, title: string, count: number, size: number): Row {
  return {
    id,
    group,
    title,
    ours: true,
    needs: ['redis'],
    start: async ({ build, messages, redis: binary = 'redis-server' }, folder) => {
      const server = await startRedis(binary, folder)
      try {
        await fillRedis(server.url, count)
        const running = await startPostern({ build, address: 'tcp', folder, state: server.url, cache: { size }, downstream: false })
        // Of Redis's own CPU time nothing is counted.
        const started = posternStarted(running, messages, numbered(count, 'random'), size > count ? count : 0)
        return { ...started, stop: () => started.stop().finally(server.stop) }
      } catch (error) {
        await server.stop()
        throw error
      }
    },
  }
}
