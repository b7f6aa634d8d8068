import { createHash } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { realmPath } from '../config/realm.ts'
import { mostWorkers, type Settings } from '../config/schema.ts'
import { Secret } from '../config/secret.ts'

/** How many processes answer checks; 1: the one that was started does, and there are no others. */
export function workersOf({ workers, state }: Pick<Settings, 'workers' | 'state'>): number {
  // Nobody else can see into the memory of a process.
  if (state.kind === 'memory') return 1
  return workers === 'auto' ? Math.min(mostWorkers, availableParallelism()) : workers
}

/**
 * A digest of the settings that cannot change while the service runs. A worker that replaces another reads the policy
 * anew, perhaps one that was refused since: it must not come up beside the others with another state.
 * @param several whether these are the settings of one of several realms: the digest is that of any of them
 */
export function unchangingOf({ listen, state, realm, workers, issuer, admin }: Settings, several = false): string {
  const path = realmPath(realm)
  // Who may ask is told to listeners that are open.
  const bound = Object.entries(listen).map(([name, listener]) => [
    name,
    listener && { ...listener, tls: { ...listener.tls, allow: undefined } },
  ])
  const settings = [bound, state, realm, workers, issuer.keys, admin.audience, admin.secret !== undefined]
  // A secret shows as "[secret]" by the time that a replacer gets it; its holder still has it.
  function told(this: Record<string, unknown>, key: string, value: unknown): unknown {
    const held = this[key]
    if (held instanceof Secret) return held.reference
    if (!several || typeof value !== 'string') return value
    // Where the file said {realm}.
    if (key === 'url') return value.endsWith(path) ? value.slice(0, -path.length) : value
    return key === 'file' || value === realm || value === admin.audience ? value.replaceAll(realm, '{realm}') : value
  }
  return createHash('sha256').update(JSON.stringify(settings, told)).digest('base64url')
}
