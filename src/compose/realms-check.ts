import { type Check, createCheck } from '../check/check.ts'
import type { Observer } from '../check/observe.ts'
import { policyOfNowhere } from '../config/nowhere.ts'
import { realmName } from '../config/schema.ts'
import { deny } from '../core/reasons.ts'
import type { Request } from '../core/request.ts'

/** What a check is done by, by the name of its realm. */
export type Checks = ReadonlyMap<string, { readonly check: Check }>

/** In which of several realms a check is to be done: `context_extensions.realm`, which the operator sets for a virtual host or route. */
const named = (request: Request): string | undefined => request.extension('realm')

/**
 * The check of several realms: one look-up, and then that of the realm. What names none, or one that is not served, is `no_route`:
 * there is no realm to fall back on.
 * @param observe told of those
 */
export function checkOfRealms(realms: Checks, observe: Observer, newId: (now: number) => string): Check {
  const nowhere = policyOfNowhere()
  const refused = (realm: string | undefined): Check => {
    const detail = realm === undefined ? 'Envoy names no realm, and several are served' : 'the realm named by Envoy is not served here'
    // Of what Envoy says no more is repeated than could be a name.
    const policy = { ...nowhere, realm: realm !== undefined && realmName.test(realm) ? realm : '' }
    return createCheck({ ruling: () => ({ policy, run: () => deny('no_route', detail) }), observe, newId, clock: Date.now })
  }
  return (request, budgetMs, begun) => {
    const realm = named(request)
    const found = realm === undefined ? undefined : realms.get(realm)
    return (found?.check ?? refused(realm))(request, budgetMs, begun)
  }
}
