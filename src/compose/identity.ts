import { type Jwks, type JwksCondition, openJwks } from '../adapters/jwks.ts'
import { placeNames } from '../config/compile-places.ts'
import type { Settings } from '../config/schema.ts'
import type { Validator } from '../core/validator.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import type { ClaimRules } from '../identity/claims.ts'
import { clientCertificates } from '../identity/mtls.ts'
import { oidcByEnvoy } from '../identity/oidc-envoy.ts'
import { oidcByPostern } from '../identity/oidc-postern.ts'
import { posternTokens } from '../identity/postern.ts'
import type { IssuerParts } from './issuer.ts'
import type { Pool } from './pool.ts'

type Entry = Settings['identity'][number]

export interface IdentityNeeds {
  readonly jwks: Pool<Jwks>
  readonly issuer: Pick<IssuerParts, 'url' | 'keys'> | undefined
  /** Told after each fetch of an issuer's keys. */
  readonly onKeys?: ((condition: JwksCondition) => void) | undefined
  /** Stand for the keys of every issuer, where nothing can be fetched. */
  readonly keys?: VerificationKeys
}

/** The validators of a policy, in its order. */
export const composeValidators = (settings: Settings, needs: IdentityNeeds): Validator[] =>
  settings.identity.map((entry) => looking(validatorOf(entry, needs), entry))

/** A validator that is shown credentials from where its entry says, and nowhere else. */
const looking = (validator: Validator, entry: Entry): Validator =>
  validator.presents === 'bearer' ? { ...validator, from: placeNames(entry) } : validator

function validatorOf(entry: Entry, { jwks, issuer, onKeys, keys: offline }: IdentityNeeds): Validator {
  const common = {
    validator: entry.name,
    namespace: ('subject_namespace' in entry ? entry.subject_namespace : undefined) ?? '',
    mayAssert: 'may_assert' in entry && entry.may_assert ? new Set(entry.may_assert) : undefined,
  }
  switch (entry.type) {
    case 'oidc': {
      const rules: ClaimRules = {
        ...common,
        issuer: entry.issuer,
        audiences: [entry.audience].flat(),
        names: {
          subject: entry.claims.subject,
          roles: entry.claims.roles,
          role: entry.claims.role,
          scopes: entry.claims.scopes,
          endUser: entry.claims.end_user,
        },
      }
      if (entry.verified_by === 'envoy') {
        const { forward, algorithms } = entry
        return oidcByEnvoy({ ...rules, metadataKey: entry.metadata_key ?? entry.name, forward, algorithms })
      }
      const { refresh, stale_for, timeout } = entry.jwks
      const options = { issuer: entry.issuer, algorithms: entry.algorithms, refreshMs: refresh, staleForMs: stale_for, timeoutMs: timeout }
      const keys = offline ?? jwks.get(JSON.stringify(options), () => openJwks({ ...options, ...(onKeys && { observe: onKeys }) }))
      return oidcByPostern({ ...rules, algorithms: entry.algorithms, keys })
    }
    case 'mtls':
      return clientCertificates({ ...common, trustDomain: entry.trust_domain, roles: new Map(Object.entries(entry.roles)) })
    case 'postern':
      if (!issuer) throw new Error(`identity ${entry.name}: there is no issuer`)
      return posternTokens({ ...common, issuer: issuer.url, audience: entry.audience, keys: offline ?? issuer.keys })
    default:
      throw new Error(`identity ${entry.name}: type ${entry.type} is not supported yet`)
  }
}
