import type { Json, JsonObject } from '../core/json.ts'
import { perObject } from '../core/per-object.ts'
import type { Issued, Principal } from '../core/principal.ts'
import { Deny } from '../core/reasons.ts'
import type { BearerValidator, Verdict } from '../core/validator.ts'
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

/** What our issuer's keys sign with. */
const algorithms = ['ES256', 'EdDSA', 'RS256'] as const

const text = (value: Json | undefined): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)

/** Whom a token of ours was issued to: it can be revoked by that, and no token of another issuer can. */
function issuedOf(payload: JsonObject): Issued {
  const client = text(payload['client_id'])
  const task = text(payload['task_id'])
  return { ...(client !== undefined && { client }), ...(task !== undefined && { task }) }
}

/**
 * Admits tokens of our own issuer for the edge, and those only: `typ: at+jwt` (RFC 9068, section 2.1) and the
 * edge audience, so that a downstream or admin token shown at the edge is rejected.
 */
export function posternTokens(options: PosternOptions): BearerValidator {
  const verified = verifiedJwt({ ...options, names, audiences: [options.audience], algorithms, types: ['at+jwt'] })
  // The same principal stands for the same token, so that what is known of one need not be found out again.
  const asIssued = perObject((principal: Principal): Principal => ({ ...principal, issued: issuedOf(principal.claims) }))
  const told = (verdict: Verdict): Verdict => (verdict === 'abstain' || verdict instanceof Deny ? verdict : asIssued(verdict))
  return {
    name: options.validator,
    subjects: options.namespace,
    presents: 'bearer',
    identify: (presentation) => {
      const verdict = verified(presentation)
      return verdict instanceof Promise ? verdict.then(told) : told(verdict)
    },
  }
}
