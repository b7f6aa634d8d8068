import { freshFile } from '../adapters/fresh-file.ts'
import { openMemoryState } from '../adapters/memory-state.ts'
import type { DurabilityReport } from '../adapters/redis-durability.ts'
import type { RedisPlace } from '../adapters/redis-options.ts'
import { openSqliteState } from '../adapters/sqlite-state.ts'
import { StateRefused } from '../adapters/state-refused.ts'
import type { StateSettings } from '../config/schema-listen.ts'
import { StartRefused } from '../core/start-refused.ts'
import type { OpenedState } from './durability.ts'

/** Told when state stops or resumes answering; undefined: it answers. */
export type OnStateFault = (fault: string | undefined) => void

/** Opens the state that a policy names. @throws {StartRefused} where it can never work as configured */
export async function openState(
  settings: StateSettings,
  realm: string,
  onFault: OnStateFault,
  onDurability?: (report: DurabilityReport) => void,
  version?: string,
): Promise<OpenedState> {
  try {
    switch (settings.kind) {
      case 'memory':
        return await openMemoryState({ realm, version })
      case 'file':
        return await openSqliteState({ path: settings.path, realm, onFault, version })
      case 'redis':
        // Loaded where it is used, as are sources: its client takes megabytes.
        return await (await import('../adapters/redis-state.ts')).openRedisState({
          place: placeOf(settings),
          realm,
          onFault,
          version,
          ...(onDurability && { onDurability }),
        })
    }
  } catch (cause) {
    if (cause instanceof StateRefused) throw new StartRefused([`state: ${cause.message}`])
    throw cause
  }
}

/** Secrets and certificates are read anew for each connection to Redis, so that rotated ones need no restart. */
export function placeOf({ url, username, password, tls }: Omit<Extract<StateSettings, { kind: 'redis' }>, 'kind'>): RedisPlace {
  const members: { readonly [name in keyof RedisPlace]: (() => string) | undefined } = {
    url: () => url.read(),
    username: username === undefined ? undefined : () => username,
    password: password && (() => password.read()),
    ca: fileOf(tls?.ca),
    cert: fileOf(tls?.cert),
    key: fileOf(tls?.key),
  }
  const place = {}
  for (const [name, get] of Object.entries(members)) if (get) Object.defineProperty(place, name, { enumerable: true, get })
  return place as RedisPlace
}

/** A file that cannot be read refuses the start. */
function fileOf(path: string | undefined): (() => string) | undefined {
  if (path === undefined) return undefined
  try {
    return freshFile(path)
  } catch (cause) {
    throw new StartRefused([`state.redis.tls: ${path} cannot be read: ${cause instanceof Error ? cause.message : 'unknown error'}`])
  }
}
