import type { BearerValidator } from '../core/validator.ts'
import type { VerificationKeys } from '../core/verification-keys.ts'
import type { ClaimNames, ClaimRules } from './claims.ts'
import { verifiedJwt } from './verified-jwt.ts'

/** Settings of a `postern` validator: tokens of our own issuer. */
export interface PosternOptions extends Omit<ClaimRules, 'names' | 'audiences'> {
  /** The edge audience, which downstream, launch, admin and page tokens never have. */
  readonly audience: string
  /** The issuer's own key ring; answers at once. */
  readonly keys: VerificationKeys
  /** How many verified tokens are remembered; 10,000 unless given. */
  readonly remember?: number
}

/** Claims of tokens that our issuer mints for the edge. */
const names: ClaimNames = { subject: 'sub', roles: 'roles', role: undefined, scopes: 'scope', endUser: undefined }

/**
 * Admits tokens of our own issuer for the edge, and those only: `typ: at+jwt` (RFC 9068, section 2.1) and the
 * edge audience, so that a downstream or admin token shown at the edge is rejected.
 */
export const posternTokens = (options: PosternOptions): BearerValidator => ({
  name: options.validator,
  subjects: options.namespace,
  presents: 'bearer',
  identify: verifiedJwt({ ...options, names, audiences: [options.audience], algorithms: ['ES256'], types: ['at+jwt'] }),
})
