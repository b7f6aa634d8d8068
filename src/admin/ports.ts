import type { AuditEvent } from '../core/audit-event.ts'
import type { Labels } from '../core/ownership.ts'
import type { LabelRecord, Revocation, Soon } from '../core/ports.ts'
import type { IdPattern } from '../core/route.ts'
import type { ListedKey, Readiness, StatusReport } from './status.ts'

/** Who a valid admin token names. */
export interface AdminToken {
  readonly subject: string
  readonly scopes: readonly string[]
  readonly tokenId: string
}

/** A token that was minted for somebody. */
export interface MintedToken {
  readonly token: string
  readonly id: string
  /** Seconds since the epoch. */
  readonly expiresAt: number
}

export interface EdgeTokenOrder {
  readonly audience: string
  readonly subject: string
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** Seconds. */
  readonly ttl: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** Tokens and keys of the issuer; absent where there is no issuer listener, and then nothing is minted. */
export interface IssuerPort {
  /** @param now milliseconds since the epoch */
  readonly verifyAdmin: (token: string, now: number) => Soon<AdminToken | undefined>
  /** A token of the admin audience, valid {@link adminTokenSeconds}. */
  readonly mintAdmin: (subject: string, now: number) => Soon<MintedToken>
  readonly mintEdge: (order: EdgeTokenOrder) => Soon<MintedToken>
  /** Audiences that edge tokens may be minted for: those of the validators of type postern. The first is the default. */
  readonly edgeAudiences: () => readonly string[]
  readonly listKeys: () => readonly ListedKey[]
  /** @returns the kid of the key that signs next. @throws {Unavailable} */
  readonly rotateKeys: (options: { readonly now: boolean }) => Promise<string>
}

export interface LabelsPort {
  readonly read: (resource: string, id: string) => Soon<LabelRecord | undefined>
  readonly write: (resource: string, id: string, labels: Labels) => Promise<void>
  readonly remove: (resource: string, id: string) => Promise<boolean>
}

/** What an admin request costs and does, counted. */
export interface AdminMetrics {
  readonly adminAuth: (status: 'success' | 'denied' | 'limited') => void
  readonly tokenRevoked: (level: string) => void
  readonly tokenIssued: (scopes: readonly string[]) => void
  readonly request: (endpoint: string, seconds: number) => void
  readonly expose: () => Promise<string>
  readonly contentType: string
}

export interface AdminOptions {
  readonly realm: string
  /** Host names (lower case, without port) under which the listener is reached; undefined: any (a unix socket). See hosts.ts. */
  readonly hosts: readonly string[] | undefined
  /** `admin.secret`, read anew each time; undefined where it is not configured. */
  readonly secret: () => string | undefined
  readonly issuer: IssuerPort | undefined
  /** SPIFFE IDs that may use the owner API and see the status (`listen.admin.tls.allow`). */
  readonly workloads: ReadonlySet<string>
  readonly labels: LabelsPort
  /** The owner label's name in the policy in force. */
  readonly ownerLabel: () => string
  /** Patterns that ids of a resource kind may match besides the usual one: `id_pattern` of the routes in force. */
  readonly idPatterns: (resource: string) => readonly IdPattern[]
  readonly revocations: { readonly append: (revocation: Revocation) => Promise<void> }
  readonly audit: { readonly commit: (event: AuditEvent) => Promise<void> }
  readonly metrics: AdminMetrics
  readonly status: () => Soon<StatusReport>
  readonly readiness: () => Readiness
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** An error that nobody expected; the caller is told nothing of it. */
  readonly onFault: (cause: unknown) => void
}
