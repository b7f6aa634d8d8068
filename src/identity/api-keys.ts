import { timingSafeEqual } from 'node:crypto'
import { isApiKey, isWholeApiKey } from '../core/api-key.ts'
import { perObject } from '../core/per-object.ts'
import type { ApiKeyLookup, ApiKeyRecord } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import { deny } from '../core/reasons.ts'
import type { BearerValidator } from '../core/validator.ts'
import { boundRoles } from './claims.ts'

/** Settings of an `api-keys` validator. */
export interface ApiKeysOptions {
  /** The validator's name: it admits the keys that were made for it. */
  readonly validator: string
  /** `subject_namespace`: stands before every owner; may be empty. */
  readonly namespace: string
  /** `may_assert`: the only roles that it may give; undefined for any. */
  readonly mayAssert: ReadonlySet<string> | undefined
  /** What a key without roles of its own may do. */
  readonly defaultRole: string | undefined
  readonly keys: ApiKeyLookup
}

/** What is read of a key once. */
interface Admitted {
  readonly digest: Buffer
  readonly principal: Principal
}

/** `iss` of principals that an API key names. */
const issuerOf = (validator: string): string => `urn:postern:api-keys:${validator}`

/**
 * Admits API keys, by the SHA-256 that is kept of each. What has another form is not looked up at all, and a key of another
 * validator of this type is that one's to judge.
 */
export function apiKeys(options: ApiKeysOptions): BearerValidator {
  const { validator, keys } = options
  const admittedOf = perObject(
    (key: ApiKeyRecord): Admitted => ({
      digest: Buffer.from(key.digest, 'hex'),
      principal: principalOf(key, options),
    }),
  )
  return {
    name: validator,
    subjects: options.namespace,
    presents: 'bearer',
    identify: ({ credential, now }) => {
      if (credential.scheme !== 'bearer' || !isApiKey(credential.token)) return 'abstain'
      if (!isWholeApiKey(credential.token)) return deny('invalid_credential', 'no whole API key: its length or its checksum is not right')
      const { digest } = credential
      const key = keys.find(digest)
      if (key === 'unavailable') return deny('identity_unavailable', 'state was not heard from within revocation.max_staleness')
      if (key === undefined) return deny('invalid_credential', 'there is no such API key')
      if (key.validator !== validator) return 'abstain'
      const admitted = admittedOf(key)
      if (!timingSafeEqual(admitted.digest, Buffer.from(digest, 'hex'))) return deny('invalid_credential', 'there is no such API key')
      if (key.revokedAt !== undefined) return deny('revoked', `the API key ${key.id} was revoked`)
      if (key.expiresAt !== undefined && key.expiresAt <= now / 1000)
        return deny('expired_credential', `the API key ${key.id} expired at ${new Date(key.expiresAt * 1000).toISOString()}`)
      keys.used(key, now)
      return admitted.principal
    },
  }
}

function principalOf(key: ApiKeyRecord, { validator, namespace, mayAssert, defaultRole }: ApiKeysOptions): Principal {
  const fallback = defaultRole === undefined ? [] : [defaultRole]
  return {
    validator,
    issuer: issuerOf(validator),
    subject: namespace + key.owner,
    rawSubject: key.owner,
    roles: boundRoles(key.roles.length > 0 ? key.roles : fallback, mayAssert),
    scopes: key.scopes,
    claims: {},
    tokenId: key.id,
    // A revoked subject's keys are refused whenever they were made.
    issuedAt: 0,
    expiresAt: key.expiresAt ?? Number.POSITIVE_INFINITY,
    digest: key.digest,
  }
}
