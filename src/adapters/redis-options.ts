import type { RedisOptions } from 'ioredis'
import { StateRefused } from './state-refused.ts'

/** How a Redis is entered; read anew for each connection, so that members may be getters over secrets. */
export interface RedisEntry {
  /** ACL user; before what a url says. */
  readonly username?: string
  readonly password?: string
  /** PEM of the authorities that may sign the server's certificate; absent: those of the platform. */
  readonly ca?: string
  /** PEM: client certificate and key, for a Redis that asks for one (`tls-auth-clients`). */
  readonly cert?: string
  readonly key?: string
}

/** One Redis. */
export interface RedisPlace extends RedisEntry {
  /** `redis://[user[:password]@]host[:port][/db]`, or `rediss://` for TLS. */
  readonly url: string
}

/** A primary that Sentinels name. */
export interface SentinelPlace extends RedisEntry {
  readonly sentinel: {
    /** Of the primary, as the Sentinels call it. */
    readonly name: string
    /** `host:port` of each Sentinel. */
    readonly hosts: readonly string[]
    /** ACL user of the Sentinels, which have users of their own. */
    readonly username?: string
    readonly password?: string
  }
  /** TLS, to the Sentinels too. */
  readonly tls: boolean
}

/** A Redis Cluster. */
export interface ClusterPlace extends RedisEntry {
  /** `host:port` of some of its nodes; they name the others. */
  readonly cluster: readonly string[]
  readonly tls: boolean
}

/** Redis in all its forms. */
export type AnyRedisPlace = RedisPlace | SentinelPlace | ClusterPlace

/** Milliseconds after which a server that accepts and says nothing is given up. */
export const answerMs = 500

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

/** `host:port`, or `[v6]:port`. @throws {StateRefused} for anything else */
export function readServer(text: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || !(port > 0 && port < 65536)) throw new StateRefused(`Redis at ${JSON.stringify(text)}: expected host:port`)
  return { host, port }
}

/** Where the server of a url listens. @throws {StateRefused} for a url that is none */
export function serverOf(place: RedisPlace): { readonly host: string; readonly port: number } {
  const url = parse(place)
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379) }
}

const tlsOf = ({ ca, cert, key }: RedisEntry) => ({
  ...(ca === undefined ? {} : { ca }),
  ...(cert === undefined ? {} : { cert }),
  ...(key === undefined ? {} : { key }),
})

/**
 * What ioredis is given. Nothing of it waits, queues or reconnects by itself: a session lives as long as its
 * connections, and redis-link.ts makes the next.
 * @throws {StateRefused} for a url that is none
 */
export function entryOptions(place: AnyRedisPlace, { host, port }: { readonly host: string; readonly port: number }): RedisOptions {
  const url = 'url' in place ? parse(place) : undefined
  const username = place.username ?? decodeURIComponent(url?.username ?? '')
  const password = place.password ?? decodeURIComponent(url?.password ?? '')
  const secure = 'url' in place ? url?.protocol === 'rediss:' : place.tls
  return {
    host,
    port,
    db: url === undefined ? 0 : databaseOf(url),
    ...(username === '' ? {} : { username }),
    ...(password === '' ? {} : { password }),
    ...(secure ? { tls: tlsOf(place) } : {}),
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
