import type { Confirmation } from '../core/confirmation.ts'
import type { JsonObject } from '../core/json.ts'
import type { Soon } from '../core/ports.ts'
import type { Actor } from '../core/principal.ts'

/** Whom a subject token (RFC 8693, section 2.1) or an actor token names, once it has been verified, and was not revoked. */
export interface TokenSubject {
  /** What verified it: a validator of the policy, a federation rule, or our own issuer. */
  readonly by: { readonly kind: 'validator' | 'federation' | 'own'; readonly name: string }
  /** What our token is to have for `sub`: with the validator's namespace before it, or what the rule makes of the claims. */
  readonly subject: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly claims: JsonObject
  readonly actor: Actor | undefined
  /** What it is bound to: proved before it is exchanged. */
  readonly confirmation: Confirmation | undefined
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** For tokens of our own: the client it was issued to, its task, and whether it came of an exchange itself. */
  readonly client: string | undefined
  readonly task: string | undefined
  readonly orchestration: string | undefined
  readonly exchanged: boolean
  /** What a federation rule allows at most; absent elsewhere. */
  readonly grants?: { readonly audiences: readonly string[] /** Seconds. */; readonly ttl: number }
}

export type SubjectAnswer =
  | { readonly kind: 'subject'; readonly subject: TokenSubject }
  /** `detail` is for the audit trail; the client is told `invalid_grant` and no more. */
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unavailable'; readonly detail: string }
  /** Not a token of this verifier's issuer: the next may know it. */
  | { readonly kind: 'unknown' }

/** Verifies one sort of subject token. @param now milliseconds since the epoch */
export type SubjectVerifier = (token: string, now: number) => Soon<SubjectAnswer>
