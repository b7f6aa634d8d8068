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
  readonly algorithm: 'ES256' | 'RS256'
  readonly createdAt: number
  readonly activeAt: number
  readonly retiredAt: number | undefined
  readonly state: 'published' | 'signing' | 'retired'
}
