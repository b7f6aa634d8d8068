import type { Confirmation } from './confirmation.ts'
import type { JsonObject } from './json.ts'
import type { KeyAlgorithm } from './ports.ts'
import type { Actor } from './principal.ts'

// What other parts know of our own issuer: what it mints, whom it admits, and its keys without their secret half.

/** Seconds that upstreams may keep the issuer's key set (`Cache-Control`); `publish_before` is longer, so that none misses a new key. */
export const jwksMaxAge = 300

/** What an admin token may do. */
export const adminScopes = [
  'admin:launch-tokens:*',
  'admin:revoke:*',
  'admin:audit:*',
  'admin:apps:*',
  'admin:owners:*',
  'admin:api-keys:*',
] as const

/** A token that was minted for somebody. */
export interface Minted {
  readonly token: string
  /** `jti` */
  readonly id: string
  /** Seconds since the epoch. */
  readonly issuedAt: number
  readonly expiresAt: number
}

/** A token by which a person or agent enters at the edge, as it is asked for. */
export interface EdgeToken {
  readonly audience: string
  readonly subject: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** Seconds. */
  readonly ttl: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** The kinds of token that the token service issues, by their `typ`; no two are ever taken for each other. */
export const tokenTypes = {
  /** A credential at the edge (RFC 9068, section 2.1); its audience is that of a `postern` validator. */
  edge: 'at+jwt',
  /** For an upstream: never a credential at the edge. */
  upstream: 'JWT',
  /** Of an app, for the broker alone. */
  app: 'postern-app+jwt',
  /** Good once, at /token alone. */
  refresh: 'postern-refresh+jwt',
} as const
export type TokenKind = keyof typeof tokenTypes

/** A token of the token service, as it is asked for. */
export interface TokenOrder {
  readonly kind: TokenKind
  readonly audience: string | readonly string[]
  readonly subject: string
  /** `client_id` (RFC 9068, section 2.2) */
  readonly client?: string | undefined
  readonly roles?: readonly string[]
  readonly scopes: readonly string[]
  /** `act` (RFC 8693, section 4.1), who acts now outermost. */
  readonly actor?: Actor | undefined
  /** `task_id` and `orch_id` of an agent. */
  readonly task?: string | undefined
  readonly orchestration?: string | undefined
  /** `cnf` */
  readonly confirmation?: Confirmation | undefined
  /** Claims of a kind of its own; none of those above. */
  readonly claims?: JsonObject
  /** Seconds. */
  readonly ttl: number
  /** Seconds since the epoch: it lives no longer than this. */
  readonly end?: number | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** A token of ours whose signature, issuer and times were verified. Revocation was not looked at. */
export interface OwnToken {
  readonly typ: string
  readonly claims: JsonObject
  readonly subject: string
  readonly audience: readonly string[]
  /** `jti` */
  readonly id: string
  readonly client: string | undefined
  readonly scopes: readonly string[]
  readonly roles: readonly string[]
  readonly actor: Actor | undefined
  readonly task: string | undefined
  readonly orchestration: string | undefined
  readonly confirmation: Confirmation | undefined
  /** Seconds since the epoch. */
  readonly issuedAt: number
  readonly expiresAt: number
}

/** A page token, by which the operator page asks in an operator's name, as it is asked for. */
export interface PageToken {
  /** The operator's name. */
  readonly subject: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** Seconds, 60 at most. */
  readonly ttl: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** Who a valid admin token names. */
export interface Admin {
  readonly subject: string
  readonly scopes: readonly string[]
  /** `jti` */
  readonly tokenId: string
  /** Seconds since the epoch. */
  readonly issuedAt: number
  readonly expiresAt: number
}

/** A signing key without what is secret in it, for listing. Seconds since the epoch. */
export interface KeyInfo {
  readonly kid: string
  readonly algorithm: KeyAlgorithm
  readonly createdAt: number
  readonly activeAt: number
  readonly retiredAt: number | undefined
  readonly state: 'published' | 'signing' | 'retired'
  /** SubjectPublicKeyInfo in PEM (RFC 7468, section 13). */
  readonly publicKey: string
}
