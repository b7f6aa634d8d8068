import type { RedisOptions } from 'ioredis'
import type { Soon } from '../core/ports.ts'
import { entryOptions, type RedisPlace, serverOf } from './redis-options.ts'

/** Where a server listens. */
export interface RedisServer {
  readonly host: string
  readonly port: number
}

/** `host:port`: what logs and status may say. */
export const told = ({ host, port }: RedisServer): string => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)

/** Which server a session goes to. */
export interface RedisFinder {
  /** What it looks for, for logs and status. */
  readonly what: () => string
  /** The server to connect to now. @throws {Unavailable} where that cannot be known */
  readonly find: () => Soon<RedisServer>
  /** How that server is entered; secrets are read anew for each connection. */
  readonly options: (server: RedisServer) => RedisOptions
  /**
   * Asked once a session has its connections: rejects with {Unavailable} where by what is known since then the server is not the
   * right one. One that was replaced and comes back with nothing may be reached by what was known before.
   */
  readonly confirm?: (server: RedisServer) => Promise<void>
  /** Asked with each beat: throws {Unavailable} where the server that was found is not the right one any more. */
  readonly prove?: (server: RedisServer) => void
  readonly close?: () => void
}

/** The server of a url. @throws {StateRefused} for a url that is none */
export function urlFinder(place: RedisPlace): RedisFinder {
  const what = `Redis at ${told(serverOf(place))}`
  const options = (server: RedisServer) => entryOptions(place, server)
  options(serverOf(place))
  return { what: () => what, find: () => serverOf(place), options }
}
