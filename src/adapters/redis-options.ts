import type { RedisOptions } from 'ioredis'
import { StateRefused } from './state-refused.ts'

/** Where a Redis is and how to enter it; read anew for each connection, so that members may be getters over secrets. */
export interface RedisPlace {
  /** `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. */
  readonly url: string
  /** ACL user; before what the url says. */
  readonly username?: string
  readonly password?: string
  /** PEM of the authorities that may sign the server's certificate; absent: those of the platform. */
  readonly ca?: string
  /** PEM: client certificate and key, for a Redis that asks for one (`tls-auth-clients`). */
  readonly cert?: string
  readonly key?: string
}

/** Milliseconds after which a server that accepts and says nothing is given up. */
export const answerMs = 500

/** `host:port` of a place: what logs and status may say. */
export function addressOf(place: RedisPlace): string {
  const url = parse(place)
  return `${url.hostname}:${url.port || 6379}`
}

function parse({ url }: RedisPlace): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  // The url is not repeated: it may hold a password.
  if (parsed === undefined || (parsed.protocol !== 'redis:' && parsed.protocol !== 'rediss:') || parsed.hostname === '')
    throw new StateRefused(
      'Redis url: expected redis://[user[:password]@]host[:port][/db], or rediss:// for TLS; a password that holds "/", "?", "#", "@" or "%" is percent-encoded there, or given as `password` beside `url`',
    )
  return parsed
}

function databaseOf(url: URL): number {
  const name = url.pathname.replace(/^\//, '')
  if (name === '') return 0
  if (!/^\d{1,5}$/.test(name)) throw new StateRefused(`Redis url: expected a database number after the host, not ${JSON.stringify(name)}`)
  return Number(name)
}

const tlsOf = ({ ca, cert, key }: RedisPlace) => ({
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key }),
})

/**
 * What ioredis is given. Nothing of it waits, queues or reconnects by itself: a session lives as long as its
 * connections, and redis-link.ts makes the next.
 * @throws {StateRefused} for a url that is none
 */
export function redisOptions(place: RedisPlace): RedisOptions {
  const url = parse(place)
  const username = place.username ?? decodeURIComponent(url.username)
  const password = place.password ?? decodeURIComponent(url.password)
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: Number(url.port || 6379),
    db: databaseOf(url),
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(url.protocol === 'rediss:' ? { tls: tlsOf(place) } : {}),
    // ioredis drops the invalidation messages of RESP3.
    protocol: 2,
    lazyConnect: true,
    retryStrategy: null,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    // INFO and CLIENT SETINFO would need rights of an ACL user that nothing else needs.
    enableReadyCheck: false,
    disableClientInfo: true,
    connectTimeout: answerMs,
    commandTimeout: answerMs,
    disconnectTimeout: 100,
    keepAlive: 5000,
    noDelay: true,
  }
}
