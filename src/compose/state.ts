import { readFileSync } from 'node:fs'
import { openMemoryState } from '../adapters/memory-state.ts'
import type { RedisPlace } from '../adapters/redis-options.ts'
import { openRedisState } from '../adapters/redis-state.ts'
import { openSqliteState } from '../adapters/sqlite-state.ts'
import { StateRefused } from '../adapters/state-refused.ts'
import type { StateSettings } from '../config/schema-listen.ts'
import type { State } from '../core/ports.ts'
import { StartRefused } from '../core/start-refused.ts'

/** Told when state stops or resumes answering; undefined: it answers. */
export type OnStateFault = (fault: string | undefined) => void

/** Opens the state that a policy names. @throws {StartRefused} where it can never work as configured */
export async function openState(settings: StateSettings, realm: string, onFault: OnStateFault): Promise<State> {
  try {
    switch (settings.kind) {
      case 'memory':
        return await openMemoryState({ realm })
      case 'file':
        return await openSqliteState({ path: settings.path, realm, onFault })
      case 'redis':
        return await openRedisState({ place: placeOf(settings), realm, onFault })
    }
  } catch (cause) {
    if (cause instanceof StateRefused) throw new StartRefused([`state: ${cause.message}`])
    throw cause
  }
}

/** Secrets are read anew for each connection to Redis, so that a rotated password needs no restart. */
export function placeOf({ url, username, password, tls }: Omit<Extract<StateSettings, { kind: 'redis' }>, 'kind'>): RedisPlace {
  const place = {
    get url() {
      return url.read()
    },
    ...(username === undefined ? {} : { username }),
    ...(tls?.ca === undefined ? {} : { ca: readFileSync(tls.ca, 'utf8') }),
  }
  return password === undefined ? place : Object.defineProperty(place, 'password', { enumerable: true, get: () => password.read() })
}
