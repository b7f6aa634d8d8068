import type { Admin, EdgeToken, KeyInfo, Minted } from '../core/issuer.ts'
import type { AuditSink, LabelStore, RevocationStore, Soon } from '../core/ports.ts'
import type { IdPattern } from '../core/route.ts'
import type { Readiness, StatusReport } from './status.ts'

/** Tokens and keys of the issuer; absent where there is no issuer listener, and then nothing is minted. */
export interface IssuerPort {
  /** @param now milliseconds since the epoch */
  readonly verifyAdmin: (token: string, now: number) => Soon<Pick<Admin, 'subject' | 'scopes'> | undefined>
  /** A short token of the admin audience. @param now milliseconds since the epoch */
  readonly mintAdmin: (subject: string, now: number) => Soon<Minted>
  readonly mintEdge: (token: EdgeToken) => Soon<Minted>
  /** Audiences that edge tokens may be minted for: those of the validators of type postern. The first is the default. */
  readonly edgeAudiences: () => readonly string[]
  readonly listKeys: () => readonly KeyInfo[]
  /** @returns the kid of the key that signs next. @throws {Unavailable} */
  readonly rotateKeys: (options: { readonly now: boolean }) => Promise<string>
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
  readonly labels: LabelStore
  /** The owner label's name in the policy in force. */
  readonly ownerLabel: () => string
  /** Patterns that ids of a resource kind may match besides the usual one: `id_pattern` of the routes in force. */
  readonly idPatterns: (resource: string) => readonly IdPattern[]
  readonly revocations: Pick<RevocationStore, 'append'>
  readonly audit: Pick<AuditSink, 'commit'>
  readonly metrics: AdminMetrics
  readonly status: () => Soon<StatusReport>
  readonly readiness: () => Readiness
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** An error that nobody expected; the caller is told nothing of it. */
  readonly onFault: (cause: unknown) => void
}
