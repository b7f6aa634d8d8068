import { openCertificateLoader } from '../adapters/certificate-files.ts'
import { openMemoryState } from '../adapters/memory-state.ts'
import type { DurabilityReport } from '../adapters/redis-durability.ts'
import type { AnyRedisPlace, RedisPlace } from '../adapters/redis-options.ts'
import { openSqliteState } from '../adapters/sqlite-state.ts'
import { StateRefused } from '../adapters/state-refused.ts'
import type { StateSettings } from '../config/schema-listen.ts'
import type { RedisSettings } from '../config/schema-redis.ts'
import type { Secret } from '../config/secret.ts'
import type { CertificateLoader, CertificateSource } from '../core/certificates.ts'
import { StartRefused } from '../core/start-refused.ts'
import { clientCertificates } from './certificates.ts'
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
  certificates: CertificateLoader = openCertificateLoader(),
): Promise<OpenedState> {
  try {
    switch (settings.kind) {
      case 'memory':
        return await openMemoryState({ realm, version })
      case 'file':
        return await openSqliteState({ path: settings.path, realm, onFault, version })
      case 'redis': {
        const place = placeOf(settings, clientCertificates(certificates, 'state', settings.tls))
        await certificates.ready()
        // Loaded where it is used, as are sources: its client takes megabytes.
        return await (await import('../adapters/redis-state.ts')).openRedisState({
          place,
          realm,
          onFault,
          version,
          ...(onDurability && { onDurability }),
        })
      }
    }
  } catch (cause) {
    if (cause instanceof StateRefused) throw new StartRefused([`state: ${cause.message}`])
    throw cause
  }
}

/** Secrets and certificates are taken as they are then for each connection to Redis, so that rotated ones need no restart. */
export function placeOf(settings: Pick<RedisSettings, 'tls'> & { readonly url: Secret }, tls?: CertificateSource): RedisPlace
export function placeOf(settings: RedisSettings, tls?: CertificateSource): AnyRedisPlace
export function placeOf(settings: Omit<RedisSettings, 'kind'>, source?: CertificateSource): AnyRedisPlace {
  const { url, cluster, sentinel, username, password, tls } = settings
  const entry = {
    username: username === undefined ? undefined : () => username,
    password: password && (() => password.read()),
    // Asked for in one go, so that they are of one set.
    ca: source && tls?.ca !== undefined ? () => source.current().ca ?? '' : undefined,
    cert: source && tls?.cert !== undefined ? () => source.current().cert ?? '' : undefined,
    key: source && tls?.key !== undefined ? () => source.current().key ?? '' : undefined,
  }
  if (url) return getters({ url: () => url.read() }, entry)
  const secure = () => tls !== undefined
  if (cluster) return getters({ cluster: () => cluster, tls: secure }, entry)
  const { name, hosts, username: user, password: word } = sentinel as NonNullable<typeof sentinel>
  const named = getters(
    { name: () => name, hosts: () => hosts },
    { username: user === undefined ? undefined : () => user, password: word && (() => word.read()) },
  )
  return getters({ sentinel: () => named, tls: secure }, entry)
}

/** An object whose members are read when they are asked for; those that are not given are absent. */
function getters<T extends object, U extends object>(
  required: { readonly [name in keyof T]: () => T[name] },
  optional: { readonly [name in keyof U]: (() => U[name]) | undefined },
): T & { readonly [name in keyof U]?: U[name] } {
  const made = {}
  for (const [name, get] of Object.entries({ ...required, ...optional }) as [string, (() => unknown) | undefined][])
    if (get) Object.defineProperty(made, name, { enumerable: true, get })
  return made as T & { readonly [name in keyof U]?: U[name] }
}
