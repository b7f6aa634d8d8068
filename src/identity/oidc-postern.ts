import type { SignatureAlgorithm } from '../core/jws.ts'
import type { BearerValidator } from '../core/validator.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import type { ClaimRules } from './claims.ts'
import { accessTokenTypes, type HeaderRules } from './jose-header.ts'
import { verifiedJwt } from './verified-jwt.ts'

/** Settings of an `oidc` validator with `verified_by: postern`. */
export interface OidcPosternOptions extends ClaimRules {
  readonly algorithms: readonly SignatureAlgorithm[]
  readonly keys: VerificationKeys
  /** Accepted `typ` headers; those of access tokens unless given. */
  readonly types?: HeaderRules['types']
  /** How many verified tokens are remembered; 10,000 unless given. */
  readonly remember?: number
}

/**
 * Admits JWTs of one issuer, verified here. A `typ` is optional, and where it stands it must say access token
 * or plain JWT: a logout token or any other special kind is no credential (RFC 8725, section 3.11).
 */
export const oidcByPostern = (options: OidcPosternOptions): BearerValidator => ({
  name: options.validator,
  subjects: options.namespace,
  presents: 'bearer',
  identify: verifiedJwt({ ...options, types: options.types ?? accessTokenTypes }),
})
