import type { Redis, RedisOptions } from 'ioredis'
import { Unavailable } from '../core/ports.ts'
import { createRedis } from './redis-client.ts'
import { describe } from './redis-fault.ts'
import { type RedisFinder, type RedisServer, told } from './redis-finder.ts'
import { answerMs, entryOptions, readServer, type SentinelPlace } from './redis-options.ts'
import { connect } from './redis-session.ts'
import { StateRefused } from './state-refused.ts'

/** Milliseconds between two questions to one Sentinel. */
const pollMs = 250
/** Milliseconds for which an answer counts. With the beat of a session, a primary that was replaced is noticed within a second. */
const freshMs = 600
/** Milliseconds that finding the primary may take: connecting to a Sentinel, and its answer. */
const findMs = answerMs + 200

interface Answer {
  readonly server: RedisServer
  /** Of the configuration, in which a failover makes the next one (`config-epoch`). */
  readonly epoch: number
  /** performance.now() milliseconds at which it was asked for. */
  readonly at: number
}

/** One Sentinel, asked again and again over one connection. */
interface Asked {
  readonly last: () => Answer | undefined
  /** performance.now() milliseconds at which the last question began that has an answer, or none by now. */
  readonly tried: () => number
  readonly fault: () => string
  readonly close: () => void
}

/** @param heard told after each answer, or lack of one */
function ask(name: string, options: () => RedisOptions, heard: () => void): Asked {
  let redis: Redis | undefined
  let timer: NodeJS.Timeout | undefined
  let last: Answer | undefined
  let tried = Number.NEGATIVE_INFINITY
  let fault = 'no answer yet'
  let closed = false

  const drop = () => {
    redis?.disconnect()
    redis?.stream?.destroy()
    redis = undefined
  }
  const once = async () => {
    const at = performance.now()
    if (redis?.status !== 'ready') {
      drop()
      redis = createRedis(options())
      await connect(redis)
    }
    // During a failover the address changes together with the epoch, before SENTINEL MASTER tells the new address.
    const address = redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)
    const facts = redis.call('SENTINEL', 'MASTER', name)
    // Of a name that is not known, the first answer says so; the second is an error without a code of its own.
    facts.catch(() => {})
    const server = readAddress(await address)
    if (server === undefined) throw new Unavailable(`it knows no primary called ${JSON.stringify(name)}`)
    last = { server, epoch: epochIn(await facts), at }
    fault = ''
  }
  const turn = async () => {
    const begun = performance.now()
    try {
      await once()
    } catch (error) {
      fault = describe(error)
      drop()
    }
    if (closed) return drop()
    tried = begun
    heard()
    timer = setTimeout(() => void turn(), pollMs)
    timer.unref()
  }
  void turn()
  return {
    last: () => last,
    tried: () => tried,
    fault: () => fault,
    close: () => {
      closed = true
      clearTimeout(timer)
      drop()
    },
  }
}

/** The reply of SENTINEL GET-MASTER-ADDR-BY-NAME: host and port, or nil. */
function readAddress(reply: unknown): RedisServer | undefined {
  if (!Array.isArray(reply) || reply.length !== 2) return undefined
  const port = Number(reply[1])
  return String(reply[0]) !== '' && port > 0 && port < 65536 ? { host: String(reply[0]), port } : undefined
}

/** Of the reply of SENTINEL MASTER: names and values in turn. */
function epochIn(reply: unknown): number {
  const epoch = Array.isArray(reply) ? Number(reply[reply.indexOf('config-epoch') + 1]) : Number.NaN
  if (!Number.isSafeInteger(epoch)) throw new Unavailable('it told no config-epoch')
  return epoch
}

/**
 * The primary that most of the Sentinels know of, by the newest configuration among their answers. They are asked for as long as
 * the link lives, so that a primary that was cut off and replaced is noticed though it answers. Fewer than half of them cannot
 * decide on a failover, and are not believed either: they may be cut off together with the old primary.
 *
 * An ACL user of the Sentinels needs `+sentinel|get-master-addr-by-name +sentinel|master`.
 * @throws {StateRefused} for a place that cannot be understood
 */
export function sentinelFinder(place: SentinelPlace): RedisFinder {
  const { name, hosts } = place.sentinel
  const servers = hosts.map(readServer)
  if (servers.length === 0) throw new StateRefused('Redis Sentinel: expected host:port of at least one')
  const most = Math.floor(servers.length / 2) + 1
  const what = `Redis primary ${JSON.stringify(name)}`
  let asked: readonly Asked[] = []
  let waiting: (() => void)[] = []
  let closed = false

  const entryOf = (server: RedisServer) => {
    const { username, password } = place.sentinel
    const { username: _, password: __, ...options } = entryOptions(place, server)
    return { ...options, ...(username === undefined ? {} : { username }), ...(password === undefined ? {} : { password }) }
  }
  const heard = () => {
    const now = waiting
    waiting = []
    for (const go of now) go()
  }
  const begin = () => {
    if (asked.length === 0 && !closed) asked = servers.map((server) => ask(name, () => entryOf(server), heard))
  }
  const answers = () => {
    const since = performance.now() - freshMs
    return asked.flatMap((one) => one.last() ?? []).filter(({ at }) => at >= since)
  }
  const primary = (): RedisServer | undefined => {
    const fresh = answers()
    return fresh.length < most ? undefined : fresh.reduce((best, one) => (one.epoch > best.epoch ? one : best)).server
  }
  const unknown = () => {
    const faults = asked.flatMap((one, i) => (one.fault() === '' ? [] : [`${told(servers[i]!)}: ${one.fault()}`]))
    return new Unavailable(
      `${answers().length} of ${servers.length} Sentinels told where it is, expected ${most}${faults.length === 0 ? '' : ` (${faults.join('; ')})`}`,
    )
  }

  const known = (): RedisServer => {
    const found = primary()
    if (found === undefined) throw unknown()
    return found
  }
  const demand = (server: RedisServer): void => {
    const now = known()
    if (now.host !== server.host || now.port !== server.port)
      throw new Unavailable(`the Sentinels say that it is at ${told(now)} now, and no more at ${told(server)}`)
  }
  /** Until that holds after one of the answers, or {@link findMs} have passed. */
  const wait = async (holds: () => boolean): Promise<void> => {
    const end = performance.now() + findMs
    while (!closed && !holds()) {
      const left = end - performance.now()
      if (left <= 0) return
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((go) => {
        waiting.push(go)
        timer = setTimeout(go, left)
      })
      clearTimeout(timer)
    }
  }

  return {
    what: () => what,
    find: async () => {
      begin()
      // Those that answer later may know a newer one, which `confirm` then demands.
      await wait(() => primary() !== undefined)
      return known()
    },
    confirm: async (server) => {
      const connected = performance.now()
      await wait(() => asked.every((one) => one.tried() >= connected))
      demand(server)
    },
    options: (server) => entryOptions(place, server),
    prove: demand,
    close: () => {
      closed = true
      for (const one of asked) one.close()
      heard()
    },
  }
}
