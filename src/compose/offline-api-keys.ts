import { hash } from 'node:crypto'
import { makeApiKey } from '../core/api-key.ts'
import type { ApiKeyLookup, ApiKeyRecord } from '../core/ports.ts'

/** An API key as a case writes it: what state would hold of it. */
export interface CaseKey {
  /** alice where absent. */
  readonly owner?: string | undefined
  readonly roles?: readonly string[] | undefined
  readonly scopes?: readonly string[] | undefined
  /** Milliseconds since the epoch. */
  readonly expires_at?: number | undefined
  /** `unknown`: it was never made here. */
  readonly status?: 'active' | 'revoked' | 'unknown' | undefined
}

/** Keys of one decision. */
export interface OfflineApiKeys extends ApiKeyLookup {
  /** Makes a key that is found from then on. @param now milliseconds since the epoch */
  readonly make: (validator: string, key: CaseKey, now: number) => string
}

/** @param down state does not answer, so that nothing is known of any key */
export function offlineApiKeys(down: boolean): OfflineApiKeys {
  const records = new Map<string, ApiKeyRecord>()
  return {
    find: (digest) => (down ? 'unavailable' : records.get(digest)),
    used: () => {},
    make: (validator, { owner = 'alice', roles = [], scopes = [], expires_at, status = 'active' }, now) => {
      const key = makeApiKey()
      const [digest, createdAt] = [hash('sha256', key), Math.floor(now / 1000)]
      const expiresAt = expires_at === undefined ? undefined : Math.floor(expires_at / 1000)
      const revokedAt = status === 'revoked' ? createdAt : undefined
      const record = { id: 'offline', digest, validator, name: '', owner, roles, scopes, createdAt, createdBy: '', expiresAt, revokedAt }
      if (status !== 'unknown') records.set(digest, record)
      return key
    },
  }
}
