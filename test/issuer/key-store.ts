import { type Change, type ChangeFeed, type KeyStore, keyVersion, type StoredKey } from '../../src/core/ports.ts'

export interface SharedKeys {
  readonly store: KeyStore
  readonly feed: ChangeFeed
  readonly at: () => readonly StoredKey[]
  /** While set, the store fails with it. */
  fault: Error | undefined
}

/** What several replicas share: compare and swap, and a feed that tells of it. Answers late, so that races are real. */
export function sharedKeys(keys: readonly StoredKey[] = []): SharedKeys {
  let stored = keys
  const listeners = new Set<(change: Change) => void>()
  const later = async (): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 4))
    if (shared.fault) throw shared.fault
  }
  const shared: SharedKeys = {
    fault: undefined,
    at: () => stored,
    store: {
      list: async () => {
        const found = stored
        await later()
        return found
      },
      replace: async (seen, next) => {
        await later()
        if ([...seen].sort().join() !== stored.map(keyVersion).sort().join()) return false
        stored = next
        for (const listener of listeners) listener({ kind: 'keys' })
        return true
      },
    },
    feed: {
      subscribe: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
      heardAt: () => Number.POSITIVE_INFINITY,
    },
  }
  return shared
}
