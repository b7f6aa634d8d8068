import type { Confirmation } from './confirmation.ts'
import type { JsonObject } from './json.ts'

/** Who acts for a subject (RFC 8693 `act`), outermost first. */
export interface Actor {
  readonly issuer?: string
  readonly subject: string
  readonly actor?: Actor
}

/** Who the request is made for. */
export interface Principal {
  /** Name of the validator that identified it: the same subject from two validators is two people. */
  readonly validator: string
  readonly issuer: string
  /** With the validator's `subject_namespace` before it; never empty. */
  readonly subject: string
  /** As the credential says it. */
  readonly rawSubject: string
  /** As presented, bounded by `may_assert`; without what they inherit. */
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly claims: JsonObject
  /** `jti` (RFC 7519, section 4.1.7). */
  readonly tokenId?: string
  /** `iat`, seconds since the epoch; 0 where the credential has none. */
  readonly issuedAt: number
  /** `exp`, seconds since the epoch; Infinity for a credential without an end of its own. */
  readonly expiresAt: number
  readonly actor?: Actor
  /** The end user named by `claims.end_user`, where it differs from the subject. */
  readonly endUser?: string
  /** Hash of the credential, or of the verified payload where the credential itself was not forwarded. */
  readonly digest: string
  /** The token as presented, where it was forwarded: what `via: sts` exchanges. Never logged. */
  readonly subjectToken?: string
  /** What only tokens of our own issuer say, by which they can be revoked; absent on all others. */
  readonly issued?: Issued
  /** What the token is bound to (`cnf`): proved before the principal is believed. */
  readonly confirmation?: Confirmation
}

/** Whom our issuer issued a token to. */
export interface Issued {
  /** `client_id` (RFC 9068, section 2.2): the client, or the app whose launch token let the agent in. */
  readonly client?: string
  /** `task_id` of an agent's token. */
  readonly task?: string
}

/** The peer that holds the client certificate. */
export interface Workload {
  /** `spiffe://<trust domain>/<path>` */
  readonly id: string
  readonly trustDomain: string
}
