import { type KeyStore, keyVersion, type StoredKey } from '../core/ports.ts'

/**
 * One of several sets of keys that share a store, each with a ring of its own. What the others hold stays as it is: they
 * are read and replaced together, so that of two that change at once one has to look again.
 */
export const keySet = (store: KeyStore, mine: (key: StoredKey) => boolean): KeyStore => ({
  list: async () => (await store.list()).filter(mine),
  replace: async (seen, next) => {
    const all = await store.list()
    const own = all.filter(mine)
    const known = new Set(seen)
    if (own.length !== known.size || !own.every((key) => known.has(keyVersion(key)))) return false
    return store.replace(all.map(keyVersion), [...all.filter((key) => !mine(key)), ...next])
  },
})
