import { type ApiKeyList, openApiKeyList } from '../adapters/api-key-list.ts'
import type { ApiKeysPort } from '../admin/ports.ts'
import type { Loaded } from '../config/read.ts'
import type { Settings } from '../config/schema.ts'
import type { State } from '../core/ports.ts'
import type { Pool } from './pool.ts'

export interface ApiKeysNeeds {
  readonly state: State
  readonly lists: Pool<Promise<ApiKeyList>>
  /** Told the id of each key that is revoked. */
  readonly onRevoked: (id: string) => void
}

/** The list of API keys, where a validator of the policy admits any. */
export async function composeApiKeys(settings: Settings, { state, lists, onRevoked }: ApiKeysNeeds): Promise<ApiKeyList | undefined> {
  if (!settings.identity.some(({ type }) => type === 'api-keys')) return undefined
  const maxStalenessMs = settings.revocation.max_staleness
  return lists.get(String(maxStalenessMs), async () => {
    const list = await openApiKeyList({ store: state.apiKeys, feed: state.feed, maxStalenessMs })
    list.onRevoked(({ id }) => onRevoked(id))
    return list
  })
}

/** What the admin API asks. */
export const apiKeysPort = (list: ApiKeysPort['list'], loaded: () => Loaded): ApiKeysPort => ({
  list,
  validators: () =>
    loaded().settings.identity.flatMap((entry) =>
      entry.type === 'api-keys'
        ? [
            {
              name: entry.name,
              namespace: entry.subject_namespace ?? '',
              defaultRole: entry.default_role,
              mayAssert: entry.may_assert && new Set(entry.may_assert),
            },
          ]
        : [],
    ),
  roles: () => Object.keys(loaded().settings.roles),
})
