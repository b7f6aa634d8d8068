/** Every way a check can be refused: the closed vocabulary of logs, metadata, problem bodies and metrics. */
export const denyReasons = [
  'bad_request',
  'no_route',
  'no_credential',
  'no_validator_admitted',
  'invalid_credential',
  'expired_credential',
  'conflicting_credentials',
  'identity_unavailable',
  'revoked',
  'revocation_unavailable',
  'missing_role',
  'missing_scope',
  'workload_not_allowed',
  'condition_failed',
  'claims_too_large',
  'not_owner',
  'owner_unavailable',
  'endpoint_unavailable',
  'exchange_refused',
  'exchange_unavailable',
  'internal',
  'overloaded',
] as const

export type DenyReason = (typeof denyReasons)[number]

/** HTTP status of each reason: the one mapping, and the compiler checks that it is complete. */
export const httpStatus = {
  bad_request: 400,
  no_route: 403,
  no_credential: 401,
  no_validator_admitted: 401,
  invalid_credential: 401,
  expired_credential: 401,
  conflicting_credentials: 401,
  identity_unavailable: 503,
  revoked: 401,
  revocation_unavailable: 503,
  missing_role: 403,
  missing_scope: 403,
  workload_not_allowed: 403,
  condition_failed: 403,
  claims_too_large: 403,
  not_owner: 403,
  owner_unavailable: 503,
  endpoint_unavailable: 503,
  exchange_refused: 403,
  exchange_unavailable: 503,
  internal: 500,
  overloaded: 503,
} as const satisfies Record<DenyReason, number>

/** google.rpc.Code by HTTP status: what `CheckResponse.status.code` says of a denial (never 0). */
export const rpcCode = { 400: 3, 401: 16, 403: 7, 500: 13, 503: 14 } as const satisfies Record<(typeof httpStatus)[DenyReason], number>

/** A sentence a client may read; it says no more than the reason itself. */
export const title = {
  bad_request: 'The request could be read in more than one way',
  no_route: 'No route admits this request',
  no_credential: 'A credential is required',
  no_validator_admitted: 'The credential is of no kind accepted here',
  invalid_credential: 'The credential is not valid',
  expired_credential: 'The credential has expired',
  conflicting_credentials: 'More than one credential was presented',
  identity_unavailable: 'The credential cannot be checked at the moment',
  revoked: 'The credential has been revoked',
  revocation_unavailable: 'Revocations cannot be checked at the moment',
  missing_role: 'A role that this route demands is missing',
  missing_scope: 'A scope that this route demands is missing',
  workload_not_allowed: 'This workload may not use the route',
  condition_failed: 'The condition of this route is not met',
  claims_too_large: 'The claims are too large to be passed on',
  not_owner: 'The resource is not available to this caller',
  owner_unavailable: 'Ownership cannot be checked at the moment',
  endpoint_unavailable: 'The resource cannot be reached at the moment',
  exchange_refused: 'No token can be had for the upstream',
  exchange_unavailable: 'Tokens for the upstream cannot be had at the moment',
  internal: 'An internal error',
  overloaded: 'Too many requests are being checked',
} as const satisfies Record<DenyReason, string>

/** What `WWW-Authenticate` is to say of a denial where `Bearer` with the usual error is not it. */
export interface Challenge {
  /** Of an authentication scheme (RFC 9110, section 11.1). */
  readonly scheme: 'DPoP'
  /** RFC 9449, sections 7.1 and 8; RFC 6750, section 3.1. */
  readonly error?: 'invalid_token' | 'invalid_dpop_proof' | 'use_dpop_nonce'
  /** `DPoP-Nonce` (RFC 9449, section 8). */
  readonly nonce?: string
}

/**
 * A refusal. `detail` is for the log and the audit trail; it reaches the client only with
 * `denials.detail: true`, so it never holds a credential.
 */
export class Deny {
  readonly reason: DenyReason
  readonly detail: string
  readonly challenge: Challenge | undefined
  constructor(reason: DenyReason, detail: string, challenge?: Challenge) {
    this.reason = reason
    this.detail = detail
    this.challenge = challenge
  }
}

/** Refuses. @param detail for log and audit trail; never holds a credential */
export const deny = (reason: DenyReason, detail: string, challenge?: Challenge): Deny => new Deny(reason, detail, challenge)

/** 401 and 403 are what `enforce: false` lets through, except a revocation: that is never a matter of adoption. */
export const mayGoUnenforced = (reason: DenyReason): boolean =>
  reason !== 'revoked' && (httpStatus[reason] === 401 || httpStatus[reason] === 403)
