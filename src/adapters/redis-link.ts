import type { Redis } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { describe, RedisRefusal, unavailable } from './redis-fault.ts'
import { addressOf, type RedisPlace, redisOptions } from './redis-options.ts'
import { openSession, type RedisSession } from './redis-session.ts'

/** Milliseconds between beats; a loss is noticed one beat and one time-out later at most. */
const beatMs = 250
const firstRetryMs = 50
const longestRetryMs = 1000
/** A session that is younger is not given up for READONLY: a replica would otherwise be connected to without end. */
const settledMs = 5000

export interface RedisLinkOptions {
  readonly place: RedisPlace
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

/** The way to a Redis, across the sessions that it takes. */
export interface RedisLink {
  /**
   * Begins to connect. Resolves after the first attempt, whatever came of it: a service starts without its Redis,
   * says why, and goes on by itself.
   */
  readonly start: () => Promise<void>
  /** Runs commands over the tracked connection. @throws {Unavailable} at once where there is none */
  readonly run: <T>(commands: (redis: Redis) => Promise<T>) => Promise<T>
  /** As ChangeFeed.heardAt: when the last answered beat was sent; it stands still while there is no session. */
  readonly heardAt: () => number
  readonly fault: () => string | undefined
  readonly close: () => Promise<void>
}

/**
 * A Redis that comes and goes.
 *
 * An ACL user needs `+ping +subscribe +client|id +client|tracking +client|trackinginfo &__redis__:invalidate`
 * beside the commands and keys of what runs over the link (and `+select` for a database other than 0).
 * @throws {StateRefused} for a place that cannot be understood
 */
export function createRedisLink(options: RedisLinkOptions): RedisLink {
  const address = addressOf(options.place)
  redisOptions(options.place)
  let session: RedisSession | undefined
  let since = 0
  let heardAt = Number.NEGATIVE_INFINITY
  let fault: string | undefined = `Redis at ${address}: not connected yet`
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
    const now = error instanceof RedisRefusal ? error.message : `Redis at ${address}: ${describe(error)}`
    if (now !== fault) options.onFault?.(now)
    fault = now
    const longest = Math.min(longestRetryMs, firstRetryMs * 2 ** attempts)
    attempts += 1
    // Jitter: replicas that lost the same Redis do not all come back at once.
    after(longest * (0.5 + Math.random() / 2), open)
  }

  const open = async (): Promise<void> => {
    let opened: RedisSession | undefined
    const meanwhile: (readonly string[] | null)[] = []
    try {
      let early: { readonly error: unknown } | undefined
      // Read anew for each session: a password may have been rotated since the last.
      opened = await openSession(redisOptions(options.place), {
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
    } catch (error) {
      if (session === beating) down(error)
      return
    }
    if (session !== beating) return
    heardAt = sent
    after(beatMs, beat)
  }

  return {
    start: open,
    run: async (commands) => {
      const current = session
      if (current === undefined) throw new Unavailable(fault ?? `Redis at ${address}: closed`)
      try {
        return await commands(current.data)
      } catch (error) {
        const failure = unavailable(address, error)
        // A primary that was demoted: its name may lead elsewhere by now.
        if (failure instanceof RedisRefusal && failure.code === 'READONLY' && session === current && performance.now() - since > settledMs)
          down(failure)
        throw failure
      }
    },
    heardAt: () => heardAt,
    fault: () => fault,
    close: async () => {
      closed = true
      clearTimeout(timer)
      session?.close()
      session = undefined
    },
  }
}
