import type { Redis, RedisOptions } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { describe, RedisRefusal, unavailable } from './redis-fault.ts'
import { type RedisFinder, type RedisServer, told, urlFinder } from './redis-finder.ts'
import type { RedisPlace } from './redis-options.ts'
import { openSession, type RedisSession } from './redis-session.ts'

/** Milliseconds between beats; a loss is noticed one beat and one time-out later at most. */
const beatMs = 250
const firstRetryMs = 50
const longestRetryMs = 1000
/** A session that is younger is not given up for READONLY: a replica would otherwise be connected to without end. */
const settledMs = 5000

/** What a link tells, and what it asks of each session. */
export interface RedisLinkEvents {
  /** Keys that were read over this link and have changed; null for all. */
  readonly invalidated: (keys: readonly string[] | null) => void
  /** A session begins: what was kept from the one before is to be dropped. Called before `heardAt` moves. */
  readonly restored: () => void
  /** Reads that every session begins with, so that those keys are tracked. */
  readonly prepare?: (redis: Redis) => Promise<unknown>
  /** Asked as a session begins, and with each beat; throws where what this server says is not to be relied upon. */
  readonly prove?: (redis: Redis) => Promise<unknown>
  readonly onFault?: ((fault: string | undefined) => void) | undefined
}

export interface RedisLinkOptions extends RedisLinkEvents {
  readonly place: RedisPlace
}

/** One server that takes writes: the only one, or a primary of a cluster. */
export interface RedisNode {
  /** Stays the same while it is the same server of the cluster; empty for the only one. */
  readonly id: string
  readonly address: () => string
  /** As {@link RedisLink.run}, at this server. */
  readonly run: <T>(commands: (redis: Redis) => Promise<T>) => Promise<T>
  /** For one more connection to the server of this session. @throws {Unavailable} where there is none */
  readonly connection: () => RedisOptions
  /** A key that begins like this and lies at this server. */
  readonly keyHere: (prefix: string) => string
}

/** The way to a Redis, across the sessions that it takes. */
export interface RedisLink {
  /**
   * Begins to connect. Resolves after the first attempt, whatever came of it: a service starts without its Redis,
   * says why, and goes on by itself.
   */
  readonly start: () => Promise<void>
  /**
   * Runs commands over the tracked connection of the server that has the key.
   * @param commands all of them concern keys of one slot (Redis Cluster). Where that has moved, they are run again from the
   *   beginning elsewhere: so one command, one transaction, or such that may be repeated. What is sent together is sent before
   *   the first reply: many at once are as many calls of `run`, not awaited one by one, and need no pipeline
   * @param key where they belong; absent: where all that is not labels is kept
   * @throws {Unavailable} at once where there is no session
   */
  readonly run: <T>(commands: (redis: Redis) => Promise<T>, key?: string) => Promise<T>
  /** The servers that keys are spread over, in a fixed order; for what looks at all keys (SCAN). Empty: not known yet. */
  readonly nodes: () => readonly RedisNode[]
  /** Another number whenever keys may have moved from one of the nodes to another: what looks at all keys begins anew then. */
  readonly layout: () => number
  /** As `layout`, once all nodes have been asked where keys are now. @throws {Unavailable} where not all of them say so */
  readonly survey: () => Promise<number>
  /** Where a write to a key may have gone: its server, and while it is being moved, the next one. */
  readonly nodesOf: (key?: string) => readonly RedisNode[]
  /**
   * As ChangeFeed.heardAt: when the last answered beat was sent; it stands still while there is no session.
   * @param key of which changes are heard; absent: those of all that is not labels
   */
  readonly heardAt: (key?: string) => number
  readonly fault: () => string | undefined
  readonly close: () => Promise<void>
}

/** A link to the server of a url. @throws {StateRefused} for a place that cannot be understood */
export const createRedisLink = ({ place, ...events }: RedisLinkOptions): RedisLink => linkTo(urlFinder(place), events)

/**
 * A Redis that comes and goes.
 *
 * An ACL user needs `+ping +subscribe +client|id +client|tracking +client|trackinginfo &__redis__:invalidate`
 * beside the commands and keys of what runs over the link (and `+select` for a database other than 0).
 */
export function linkTo(finder: RedisFinder, options: RedisLinkEvents, id = '', keyHere = (prefix: string) => prefix): RedisLink {
  let session: RedisSession | undefined
  let server: RedisServer | undefined
  let since = 0
  let heardAt = Number.NEGATIVE_INFINITY
  let fault: string | undefined = `${finder.what()}: not connected yet`
  let attempts = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const after = (ms: number, next: () => Promise<void>) => {
    if (closed) return
    clearTimeout(timer)
    timer = setTimeout(() => void next(), ms)
    timer.unref()
  }

  const down = (error: unknown) => {
    if (closed) return
    session?.close()
    session = undefined
    const now = error instanceof RedisRefusal ? error.message : `${finder.what()}: ${describe(error)}`
    if (now !== fault) options.onFault?.(now)
    fault = now
    const longest = Math.min(longestRetryMs, firstRetryMs * 2 ** attempts)
    attempts += 1
    // Jitter: replicas that lost the same Redis do not all come back at once.
    after(longest * (0.5 + Math.random() / 2), open)
  }

  const open = async (): Promise<void> => {
    let opened: RedisSession | undefined
    let found: RedisServer | undefined
    const meanwhile: (readonly string[] | null)[] = []
    try {
      let early: { readonly error: unknown } | undefined
      found = await finder.find()
      if (closed) return
      // Read anew for each session: a password may have been rotated since the last.
      opened = await openSession(finder.options(found), {
        invalidated: (keys) => {
          if (opened !== undefined && session === opened) options.invalidated(keys)
          else meanwhile.push(keys)
        },
        lost: (error) => {
          if (opened !== undefined && session === opened) down(error)
          else early = { error }
        },
      })
      await options.prepare?.(opened.data)
      await options.prove?.(opened.data)
      await finder.confirm?.(found)
      finder.prove?.(found)
      if (early !== undefined) throw early.error
    } catch (error) {
      opened?.close()
      down(error)
      return
    }
    if (closed) {
      opened.close()
      return
    }
    session = opened
    server = found
    since = performance.now()
    attempts = 0
    if (fault !== undefined) {
      fault = undefined
      options.onFault?.(undefined)
    }
    // Nothing was read in this session yet but what `prepare` read, and nothing older is kept: all is known up to now.
    options.restored()
    for (const keys of meanwhile) options.invalidated(keys)
    heardAt = performance.now()
    after(beatMs, beat)
  }

  const beat = async (): Promise<void> => {
    const beating = session
    if (beating === undefined) return
    const sent = performance.now()
    try {
      await Promise.all([beating.beat(), options.prove?.(beating.data)])
      if (server !== undefined) finder.prove?.(server)
    } catch (error) {
      if (session === beating) down(error)
      return
    }
    if (session !== beating) return
    heardAt = sent
    after(beatMs, beat)
  }

  const run: RedisNode['run'] = async (commands) => {
    const current = session
    if (current === undefined) throw new Unavailable(fault ?? `${finder.what()}: closed`)
    try {
      return await commands(current.data)
    } catch (error) {
      const failure = unavailable(server === undefined ? '' : told(server), error)
      // A primary that was demoted: its name may lead elsewhere by now.
      if (failure instanceof RedisRefusal && failure.code === 'READONLY' && session === current && performance.now() - since > settledMs)
        down(failure)
      throw failure
    }
  }
  const node: RedisNode = {
    id,
    address: () => (server === undefined ? finder.what() : told(server)),
    run,
    connection: () => {
      if (session === undefined || server === undefined) throw new Unavailable(fault ?? `${finder.what()}: closed`)
      return finder.options(server)
    },
    keyHere,
  }
  const nodes = [node]
  return {
    start: open,
    run,
    nodes: () => nodes,
    layout: () => 0,
    survey: async () => 0,
    nodesOf: () => nodes,
    heardAt: () => heardAt,
    fault: () => fault,
    close: async () => {
      closed = true
      clearTimeout(timer)
      finder.close?.()
      session?.close()
      session = undefined
    },
  }
}
