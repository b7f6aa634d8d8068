import { type Redis, ReplyError } from 'ioredis'
import { type Labels, noLabels } from '../core/ownership.ts'
import { type LabelPage, Unavailable } from '../core/ports.ts'
import { createRedis } from './redis-client.ts'
import { unavailable } from './redis-fault.ts'
import { toLabels } from './redis-label-reply.ts'
import type { RedisLink, RedisNode } from './redis-link.ts'

/** What is read of a page of keys, each with what stands there. */
export type KeyPage = { readonly found: readonly (readonly [key: string, labels: Labels])[]; readonly cursor: LabelPage['cursor'] }

/** Looks at all label keys, page by page. */
export interface RedisLabelList {
  /** @param match as of SCAN. @param most keys of the database that are looked at, about. @throws {Unavailable} */
  readonly page: (match: string, most: number, after: string | undefined) => Promise<KeyPage>
  readonly close: () => void
}

/** Keys looked at in one page at most: what is answered well within a command's time. */
const mostAtOnce = 1000
/** Milliseconds after which the connections of a list that nobody asks for are closed. */
const idleMs = 10_000
/** A list begins anew so many times because keys moved between servers, and then goes on. */
const mostAnew = 3

/** Where a list goes on: cursor of SCAN at one of the nodes, of the layout that it began with. */
interface Place {
  readonly layout: number
  readonly anew: number
  readonly node: string
  readonly scan: string
  /** Of the start of that server: after another one the cursor means nothing, and keys would be passed over. Empty: not told. */
  readonly run: string
}

/** A connection of the list. */
interface Reading {
  readonly redis: Redis
  /** `host:port` */
  readonly to: string
  /** As {@link Place.run}; settles when it is connected. */
  readonly run: Promise<string>
}

function readPlace(cursor: string | undefined): Place | undefined {
  const [, layout, anew, scan, run, node] = /^(\d{1,15})\.(\d)\.(\d{1,20})\.(\w{0,40})\.(.*)$/.exec(cursor ?? '') ?? []
  if (scan === undefined || run === undefined || node === undefined) return undefined
  return { layout: Number(layout), anew: Number(anew), node, scan, run }
}

/**
 * Reads over connections of its own: what is read over those of the link is tracked, and to look at millions of keys would push
 * out of the server's tracking table what near copies rely on. In a cluster one primary after the other is looked at, and all of
 * them anew where keys have moved meanwhile. Commands: SCAN, HGETALL; INFO, where it may be asked.
 * @param readKey how one key is read wherever it is, for those that have moved
 */
export function redisLabelList(link: RedisLink, readKey: (key: string) => Promise<Labels | undefined>): RedisLabelList {
  const connections = new Map<string, Reading>()
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const drop = (id: string) => {
    connections.get(id)?.redis.disconnect()
    connections.delete(id)
  }
  const close = () => {
    clearTimeout(timer)
    for (const id of connections.keys()) drop(id)
  }

  function connected(node: RedisNode): Reading {
    if (closed) throw new Unavailable(`${node.address()}: closed`)
    clearTimeout(timer)
    timer = setTimeout(close, idleMs).unref()
    const options = node.connection()
    const to = `${options.host}:${options.port}`
    const known = connections.get(node.id)
    if (known?.to === to && known.redis.status !== 'end') return known
    drop(node.id)
    const redis = createRedis(options)
    redis.on('error', () => {})
    const made = { redis, to, run: runOf(redis) }
    connections.set(node.id, made)
    return made
  }

  async function runOf(redis: Redis): Promise<string> {
    await redis.connect()
    try {
      return /^run_id:(\w{1,40})/m.exec(await redis.info('server'))?.[1] ?? ''
    } catch (error) {
      // A user may be without that right.
      if (error instanceof ReplyError) return ''
      throw error
    }
  }

  async function labelsAt(redis: Redis, key: string): Promise<Labels | undefined> {
    try {
      const labels = toLabels(await redis.hgetall(key))
      return labels.size === 0 ? undefined : labels
    } catch (error) {
      const reply = error instanceof ReplyError ? (error as Error).message : ''
      // Something is there, but no hash.
      if (reply.startsWith('WRONGTYPE')) return noLabels
      // It moves, or has moved, to another server.
      if (/^(?:MOVED|ASK|TRYAGAIN) /.test(reply)) return readKey(key)
      throw error
    }
  }

  /** Keys of one server, and where SCAN goes on. */
  async function scan(node: RedisNode, place: Place, match: string, most: number): Promise<readonly [Place, KeyPage['found']]> {
    try {
      const { redis, run: told } = connected(node)
      const run = await told
      const other = place.scan !== '0' && place.run !== run && place.anew < mostAnew
      const from = other ? { ...place, scan: '0', anew: place.anew + 1 } : place
      const [next, keys] = await redis.scan(from.scan, 'MATCH', match, 'COUNT', most)
      // A key may come twice. All are sent before the first is answered.
      const read = await Promise.all([...new Set(keys)].map(async (key) => [key, await labelsAt(redis, key)] as const))
      return [{ ...from, scan: next, run }, read.flatMap(([key, labels]) => (labels === undefined ? [] : [[key, labels] as const]))]
    } catch (error) {
      drop(node.id)
      throw unavailable(node.address(), error)
    }
  }

  return {
    page: async (match, most, after) => {
      const nodes = link.nodes()
      const layout = link.layout()
      const first = nodes[0]
      if (first === undefined) throw new Unavailable(link.fault() ?? 'the servers of the Redis cluster are not known yet')
      const start = (anew: number): Place => ({ layout, anew, node: first.id, scan: '0', run: '' })
      // What is no cursor begins anew, as in the other drivers.
      let place = readPlace(after) ?? start(0)
      if (!nodes.some(({ id }) => id === place.node)) place = start(Math.min(place.anew + 1, mostAnew))
      else if (place.layout !== layout) place = place.anew < mostAnew ? start(place.anew + 1) : { ...place, layout }
      const at = nodes.findIndex(({ id }) => id === place.node)
      const [{ scan: next, anew, run }, found] = await scan(nodes[at]!, place, match, Math.min(most, mostAtOnce))
      const following = next === '0' ? nodes[at + 1]?.id : nodes[at]!.id
      // The last page says that all was seen, and so knows of what moved while it was read.
      if (following === undefined) {
        const moved = (await link.survey()) !== layout && anew < mostAnew
        return { found, cursor: moved ? `${layout}.${anew}.0..` : undefined }
      }
      return { found, cursor: `${layout}.${anew}.${next}.${run}.${following}` }
    },
    close: () => {
      closed = true
      close()
    },
  }
}
