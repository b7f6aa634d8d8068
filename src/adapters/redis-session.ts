import type { Redis, RedisOptions } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { createRedis } from './redis-client.ts'

/** Where Redis publishes to clients that redirect their tracking (https://redis.io/docs/latest/develop/reference/client-side-caching/). */
const invalidationChannel = '__redis__:invalidate'

/** What a session tells. */
export interface SessionEvents {
  /** Keys that this session had read and that were changed since; null for all of them (FLUSHDB). */
  readonly invalidated: (keys: readonly string[] | null) => void
  /** Once: a connection closed, and nothing of this session may be relied upon any more. */
  readonly lost: (error: unknown) => void
}

/** Two connections, the second of which hears what happens to the keys that the first has read. */
export interface RedisSession {
  readonly data: Redis
  /**
   * Proves the way of invalidations from end to end: what is answered on the second connection comes after every
   * invalidation queued before, and the first says whether it is still tracked. Resolves when both have answered.
   */
  readonly beat: () => Promise<void>
  readonly close: () => void
}

/** Destroyed, not ended: a server that hangs would never close its side. */
function destroy(redis: Redis): void {
  redis.disconnect()
  redis.stream?.destroy()
}

/** Connects; what happened first is what is thrown (ioredis hides a refused AUTH behind "closed"). */
export async function connect(redis: Redis): Promise<void> {
  let first: unknown
  const note = (error: unknown) => {
    first ??= error
  }
  redis.on('error', note)
  try {
    await redis.connect()
  } catch (error) {
    throw first ?? error
  } finally {
    // An error listener must stay, or ioredis prints.
    redis.on('error', () => {})
    redis.off('error', note)
  }
  // A SELECT that was refused leaves a connection on another database.
  if (first !== undefined) throw first
}

/** @throws what ioredis threw, where a session cannot be had within the time-outs of the options */
export async function openSession(options: RedisOptions, events: SessionEvents): Promise<RedisSession> {
  const data = createRedis(options)
  const hearing = createRedis(options)
  let over = false
  const close = () => {
    over = true
    destroy(data)
    destroy(hearing)
  }
  const lost = (error: unknown) => {
    if (over) return
    close()
    events.lost(error)
  }

  try {
    await Promise.all([connect(data), connect(hearing)])
    hearing.on('messageBuffer', (_channel: Buffer, keys: unknown) => {
      if (over) return
      events.invalidated(Array.isArray(keys) ? keys.map(String) : null)
    })
    const hearer = await hearing.client('ID')
    await hearing.subscribe(invalidationChannel)
    // Before any read: what is read from here on is tracked, missing keys too.
    await data.call('CLIENT', 'TRACKING', 'ON', 'REDIRECT', hearer)

    const beat = async () => {
      const [info] = await Promise.all([data.call('CLIENT', 'TRACKINGINFO'), hearing.ping()])
      if (!isTracking(info, hearer)) throw new Unavailable('client tracking is off or its redirection is broken')
    }
    // A server that loads its data set answers CLIENT, but not PING.
    await beat()

    let failure: unknown
    for (const redis of [data, hearing]) {
      redis.on('error', (error: unknown) => {
        failure ??= error
      })
      redis.on('close', () => lost(failure))
    }
    if (data.status !== 'ready' || hearing.status !== 'ready') throw new Unavailable('a connection closed while it was set up')
    return { data, beat, close }
  } catch (error) {
    close()
    throw error
  }
}

/** The reply of CLIENT TRACKINGINFO: `flags`, a list, `redirect`, a client id, … */
function isTracking(info: unknown, hearer: number): boolean {
  if (!Array.isArray(info)) return false
  const flags: unknown = info[info.indexOf('flags') + 1]
  const redirect: unknown = info[info.indexOf('redirect') + 1]
  return Array.isArray(flags) && flags.includes('on') && !flags.includes('broken_redirect') && redirect === hearer
}
