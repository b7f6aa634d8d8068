import { Redis, type RedisOptions } from 'ioredis'

/**
 * A connection to a Redis, not opened yet where the options say `lazyConnect`. Every one is made here.
 *
 * A TLS socket may say twice that it failed: a server that does not believe our certificate sends an alert after the handshake (TLS 1.3
 * as the client sees it), and the connection is reset after that. ioredis listens for the first of them alone, and an `error` that nobody
 * listens for ends the process.
 */
export function createRedis(options: RedisOptions): Redis {
  const redis = new Redis({ ...options, replyMapping: 'legacy' })
  redis.on('connect', () => redis.stream.on('error', () => {}))
  return redis
}
