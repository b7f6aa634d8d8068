import { keyVersion, type StoredKey } from '../core/ports.ts'

/** Whether the keys are those that somebody saw, each as it was. @param seen `keyVersion` of each, in any order */
export function sameKeys(keys: readonly Omit<StoredKey, 'privateKey' | 'algorithm' | 'createdAt'>[], seen: readonly string[]): boolean {
  const versions = new Set(seen)
  return versions.size === keys.length && keys.every((key) => versions.has(keyVersion(key)))
}
