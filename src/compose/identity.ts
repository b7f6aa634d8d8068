import type { Introspection } from '../adapters/introspection.ts'
import type { Jwks, JwksCondition } from '../adapters/jwks.ts'
import { edgeOf } from '../config/compile-edge.ts'
import { placeNames } from '../config/compile-places.ts'
import type { Settings } from '../config/schema.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { ApiKeyLookup } from '../core/ports.ts'
import type { Validator } from '../core/validator.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import { apiKeys } from '../identity/api-keys.ts'
import { basicCredentials } from '../identity/basic.ts'
import { edgeClaims } from '../identity/edge-trust.ts'
import { pageTokens } from '../identity/management-plane.ts'
import { clientCertificates } from '../identity/mtls.ts'
import { posternTokens } from '../identity/postern.ts'
import { sharedToken } from '../identity/shared-token.ts'
import type { IssuerParts } from './issuer.ts'
import { composeOidc } from './oidc.ts'
import type { PageKeys } from './page-keys.ts'
import type { Pool } from './pool.ts'

type Entry = Settings['identity'][number]

export interface IdentityNeeds {
  readonly jwks: Pool<Jwks>
  /** Absent: nobody can be asked about opaque tokens. */
  readonly introspections?: Pool<Introspection>
  /** Of this process; absent: opened where they are needed. */
  readonly certificates?: CertificateLoader | undefined
  readonly issuer: (Pick<IssuerParts, 'url' | 'keys'> & { readonly pages: Pick<PageKeys, 'begin' | 'keys'> }) | undefined
  /** API keys of the realm; undefined where no validator admits any. */
  readonly apiKeys?: ApiKeyLookup | undefined
  /** Told of a changed shared token that cannot be used. */
  readonly onSharedToken?: ((validator: string, detail: string) => void) | undefined
  /** Told after each fetch of an issuer's keys. */
  readonly onKeys?: ((condition: JwksCondition) => void) | undefined
  /** Stand for the keys of every issuer, where nothing can be fetched. */
  readonly keys?: VerificationKeys
}

/** The validators of a policy, in its order; before them that of page tokens. */
export const composeValidators = (settings: Settings, needs: IdentityNeeds): Validator[] => [
  ...pagesOf(settings, needs),
  ...settings.identity.map((entry) => looking(validatorOf(entry, needs), entry)),
]

/** Whether page tokens are admitted: where somebody can have them minted, unless the policy says no. */
export const admitsPages = ({ admin, allow_management_plane }: Settings): boolean => admin.secret !== undefined && allow_management_plane

/** Page tokens may stand wherever the policy looks for credentials. */
function pagesOf(settings: Settings, { issuer, keys: offline }: IdentityNeeds): Validator[] {
  if (!issuer || !admitsPages(settings)) return []
  const { identity } = settings
  issuer.pages.begin()
  const from = new Set(['authorization', ...identity.flatMap((entry) => [...placeNames(entry)])])
  const validator = pageTokens({ issuer: issuer.url, keys: offline ?? issuer.pages.keys })
  return [{ ...validator, from }]
}

/** A validator that is shown credentials from where its entry says, and nowhere else. */
const looking = (validator: Validator, entry: Entry): Validator =>
  validator.presents === 'bearer' ? { ...validator, from: placeNames(entry) } : validator

function validatorOf(entry: Entry, needs: IdentityNeeds): Validator {
  const common = {
    validator: entry.name,
    namespace: ('subject_namespace' in entry ? entry.subject_namespace : undefined) ?? '',
    mayAssert: 'may_assert' in entry && entry.may_assert ? new Set(entry.may_assert) : undefined,
  }
  const { jwks, introspections, certificates, issuer, onKeys, keys: offline, onSharedToken } = needs
  switch (entry.type) {
    case 'oidc':
      return composeOidc(entry, common, { jwks, introspections, certificates, onKeys, keys: offline })
    case 'api-keys':
      if (!needs.apiKeys) throw new Error(`identity ${entry.name}: there is no list of API keys`)
      return apiKeys({ ...common, defaultRole: entry.default_role, keys: needs.apiKeys })
    case 'mtls':
      return clientCertificates({ ...common, trustDomain: entry.trust_domain, roles: new Map(Object.entries(entry.roles)) })
    case 'postern':
      if (!issuer) throw new Error(`identity ${entry.name}: there is no issuer`)
      return posternTokens({ ...common, issuer: issuer.url, audience: entry.audience, keys: offline ?? issuer.keys })
    case 'shared-token':
      return sharedToken({
        ...common,
        // Offline it may be on another machine: then nobody knows it.
        secret: () => (entry.secret.known ? entry.secret.read() : ''),
        role: entry.role,
        endUserHeader: entry.trust_end_user_header ? entry.end_user_header.toLowerCase() : undefined,
        onFault: (detail) => onSharedToken?.(entry.name, detail),
      })
    case 'edge-trust':
      return edgeClaims({ ...common, edge: edgeOf(entry), headers: entry.headers, claims: entry.claims_from_headers })
    case 'basic':
      return basicCredentials(entry.name)
  }
}
