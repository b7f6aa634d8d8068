import type { AuditReader } from '../core/audit-log.ts'
import type { Apps, LaunchOrder, LaunchTokens } from '../core/broker.ts'
import type { BodySchema } from '../core/http-body.ts'
import type { Admin, EdgeToken, KeyInfo, Minted, PageToken } from '../core/issuer.ts'
import type { Limit } from '../core/limit.ts'
import type { ApiKeyRecord, AuditSink, LabelStore, RevocationLevel, RevocationStore, Soon } from '../core/ports.ts'
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
  /** The public keys, by which checkpoints of the audit trail are verified (RFC 7517); absent: they are not told. */
  readonly jwks?: () => { readonly keys: readonly object[] }
  /** @returns the kid of the key that signs next. @throws {Unavailable} */
  readonly rotateKeys: (options: { readonly now: boolean }) => Promise<string>
  /** Takes a key away whose tokens are to be refused. @throws {Unavailable} */
  readonly removeKey: (kid: string) => Promise<'removed' | 'unknown' | 'signs'>
}

/** Page tokens, by which the operator page asks agents. */
export interface PagePort {
  /** Whether the policy in force has a validator for them. */
  readonly admitted: () => boolean
  /** Of the policy in force: what such a token may carry. */
  readonly roles: () => ReadonlySet<string>
  /** @throws {Unavailable} */
  readonly mint: (token: PageToken) => Soon<Minted>
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

/** All API keys of the realm, and how they change. */
export interface ApiKeys {
  /** A new key, or one that is revoked: durable, and in force here, when it resolves. @throws {Unavailable} */
  readonly put: (key: ApiKeyRecord) => Promise<void>
  /** @throws {Unavailable} */
  readonly byId: (id: string) => Promise<ApiKeyRecord | undefined>
  readonly all: () => Iterable<ApiKeyRecord>
  /** Seconds since the epoch. @throws {Unavailable} */
  readonly lastUsed: (ids: readonly string[]) => Promise<ReadonlyMap<string, number>>
  /** Whether all keys in force are known here. */
  readonly trusted: () => boolean
}

/** A validator that admits API keys. */
export interface ApiKeyValidator {
  readonly name: string
  /** Stands before each owner. */
  readonly namespace: string
  readonly defaultRole: string | undefined
  /** undefined: any role. */
  readonly mayAssert: ReadonlySet<string> | undefined
}

/** What the policy in force says of API keys. */
export interface ApiKeysPort {
  /** undefined where no validator admits any. */
  readonly list: () => ApiKeys | undefined
  readonly validators: () => readonly ApiKeyValidator[]
  /** Names of the policy's roles. */
  readonly roles: () => readonly string[]
}

/** Revocations, and what is known of them. */
export interface RevocationsPort extends Pick<RevocationStore, 'append'> {
  /** After what is new in state was read; undefined where nothing of it is revoked. Seconds since the epoch. @throws {Unavailable} */
  readonly known: (
    level: RevocationLevel,
    target: string,
  ) => Promise<{ readonly at: number; readonly until: number; readonly lifted: boolean } | undefined>
}

/** Apps and launch tokens of the agent broker; absent where nothing is minted. */
export interface BrokerPort {
  readonly apps: Apps
  readonly launchTokens: LaunchTokens
  /** The body by which a launch token is asked for. */
  readonly launchBody: BodySchema<LaunchOrder>
}

/** Labels whose values decide something, and so have forms of their own. */
export interface LabelRules {
  /** The owner label's name. */
  readonly owner: string
  /** Names of those that share a resource, and that say its tenant. */
  readonly shared?: string | undefined
  readonly tenant?: string | undefined
  readonly endpoint?: { readonly label: string; readonly allows: (ip: string) => boolean } | undefined
}

export interface AdminOptions {
  readonly realm: string
  /** Host names (lower case, without port) under which the listener is reached; undefined: any (a unix socket). See hosts.ts. */
  readonly hosts: readonly string[] | undefined
  /** `admin.secret`, read anew each time; undefined where it is not configured. */
  readonly secret: () => string | undefined
  readonly issuer: IssuerPort | undefined
  /** Absent: nothing mints page tokens. */
  readonly pages?: PagePort | undefined
  /** SPIFFE IDs that may use the owner API and see the status (`listen.admin.tls.allow`). */
  readonly workloads: () => ReadonlySet<string>
  readonly labels: LabelStore
  /** The owner label's name in the policy in force. */
  readonly ownerLabel: () => string
  /** What the policy in force says of other labels; absent: nothing. */
  readonly labelRules?: () => Omit<LabelRules, 'owner'>
  /** Patterns that ids of a resource kind may match besides the usual one: `id_pattern` of the routes in force. */
  readonly idPatterns: (resource: string) => readonly IdPattern[]
  readonly revocations: RevocationsPort
  readonly apiKeys: ApiKeysPort
  readonly broker?: BrokerPort | undefined
  /** How often an address may log in, where several listeners count together; absent: this one alone. */
  readonly logins?: Limit
  readonly audit: Pick<AuditSink, 'commit'> & Pick<AuditReader, 'read'>
  readonly metrics: AdminMetrics
  readonly status: () => Soon<StatusReport>
  readonly readiness: () => Readiness
  readonly newId: () => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** An error that nobody expected; the caller is told nothing of it. */
  readonly onFault: (cause: unknown) => void
}
