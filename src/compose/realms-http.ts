import type { Connection } from '../core/connection.ts'
import type { Fetch, Take } from '../wire/http-listener.ts'
import { realmTarget } from '../wire/realm-target.ts'

/** What a listener asks of one realm. */
export interface RealmHandlers {
  readonly fetch: Fetch | undefined
  readonly take?: Take | undefined
}

/** The handlers of a listener that several realms share. */
export interface SharedHandlers {
  readonly fetch: Fetch
  readonly take: Take
}

/**
 * Serves each realm at `/realms/<realm>`, as it would be served alone.
 * @param of the handlers of a realm; undefined where it is not served
 * @param root serves all other paths
 */
export function sharedHandlers(of: (realm: string) => RealmHandlers | undefined, root: Fetch): SharedHandlers {
  const chosen = new WeakMap<Connection, Fetch>()
  return {
    take: (incoming, outgoing, connection) => {
      const asked = realmTarget(incoming.url ?? '')
      const handlers = asked && of(asked.realm)
      if (!asked || !handlers) return false
      // Everything behind sees the target that it would see if there were no other realm.
      incoming.url = asked.target
      if (handlers.take?.(incoming, outgoing, connection)) return true
      chosen.set(connection, handlers.fetch ?? root)
      return false
    },
    fetch: (request, connection) => (chosen.get(connection) ?? root)(request, connection),
  }
}
