import type { AuditLog } from './audit-log.ts'
import type { BearerToken } from './bearer-token.ts'
import type { LabelStore } from './label-store.ts'
import type { Labels } from './ownership.ts'
import type { Principal } from './principal.ts'
import type { RecordStore } from './record-store.ts'
import type { Soon } from './soon.ts'

export type { AuditSink } from './audit-log.ts'
export {
  type LabelFilter,
  type LabelPage,
  type LabelReader,
  type LabelRecord,
  type LabelStore,
  mostLabelsAtOnce,
  type StoredLabels,
} from './label-store.ts'
export type { Soon } from './soon.ts'

/** What a driver throws (or rejects with) where state cannot be had: down, slow, loading, distrusted. */
export class Unavailable extends Error {
  override readonly name = 'Unavailable'
}

/** Something that replicas keep near has changed in state. */
export type Change =
  | { readonly kind: 'label'; readonly source: string | undefined; readonly resource: string; readonly id: string }
  /** Anything may have changed: every near copy of this kind is to be dropped. */
  | { readonly kind: 'labels' }
  | { readonly kind: 'revocations' }
  | { readonly kind: 'keys' }
  | { readonly kind: 'api-keys' }

/** The one channel by which replicas learn of changes; near copies are trusted only while it is alive. */
export interface ChangeFeed {
  /** @returns a function that ends the subscription */
  readonly subscribe: (listener: (change: Change) => void) => () => void
  /**
   * Monotonic milliseconds (performance.now) of the last moment up to which every change is known to have
   * been told; Infinity for a state that nobody else can change.
   * @param resource with `id`: changes of this resource's labels alone, where parts of state are heard apart (Redis Cluster)
   */
  readonly heardAt: (resource?: string, id?: string) => number
}

/** Milliseconds: a near copy may be used while the feed was heard from at most this long ago, so that its loss shows within 1 s. */
export const feedTrustMs = 1000

export const revocationLevels = ['token', 'subject', 'agent', 'task', 'chain', 'client'] as const
export type RevocationLevel = (typeof revocationLevels)[number]

/** What is refused from now on, though it was issued. */
export interface Revocation {
  readonly level: RevocationLevel
  /**
   * `jti` for a token; the prefixed subject for a subject; for the others what our own tokens name: the agent's id (its `sub`)
   * for an agent and for a chain, the task's id, the client's id.
   */
  readonly target: string
  /** Seconds since the epoch: what was issued up to this instant is refused. */
  readonly at: number
  /** Seconds since the epoch after which the entry concerns nothing any more. */
  readonly until: number
  /**
   * This entry ends a revocation that was made before `at`, for credentials that have no instant of their own (an API key, a
   * certificate, the secret of a client). What was issued up to a revocation stays refused.
   */
  readonly lifted?: true
}

/** A part of the list, so that neither a long one nor one more entry holds up the thread that checks. */
export interface RevocationPage {
  /** In the order in which they were appended. The same one may come again. */
  readonly entries: readonly Revocation[]
  /** For the next `list` of the same handle; says nothing to anybody else. */
  readonly cursor: string
  /** The list goes on after `cursor` already. */
  readonly more: boolean
}

/** Revocations as stored, in the order in which they were appended. */
export interface RevocationStore {
  /**
   * Those still in force, a page at a time.
   * @param after cursor of the page before: what was appended since; absent: from the beginning. A driver whose state may
   *   be another than before begins anew, whatever the cursor.
   * @throws {Unavailable}
   */
  readonly list: (after?: string) => Soon<RevocationPage>
  /** In force on this state when it resolves, and durable. @throws {Unavailable} */
  readonly append: (revocation: Revocation) => Promise<void>
}

/** An API key as stored: never the key itself. Times are seconds since the epoch. */
export interface ApiKeyRecord {
  readonly id: string
  /** SHA-256 of the key, hexadecimal. */
  readonly digest: string
  /** Name of the validator that admits it. */
  readonly validator: string
  /** What people call it; may be empty. */
  readonly name: string
  /** The subject, without the validator's `subject_namespace`. */
  readonly owner: string
  /** Empty: the validator's `default_role`. */
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  readonly createdAt: number
  /** Who had it made. */
  readonly createdBy: string
  /** undefined: it has no end of its own. */
  readonly expiresAt: number | undefined
  readonly revokedAt: number | undefined
}

/** Seconds that a key is kept after its end, so that who still presents it is told what became of it, and logs name it. */
export const apiKeyKept = 90 * 86_400

/** When a key ended, or will; seconds since the epoch. */
export const apiKeyEnd = ({ expiresAt, revokedAt }: Pick<ApiKeyRecord, 'expiresAt' | 'revokedAt'>): number =>
  Math.min(expiresAt ?? Number.POSITIVE_INFINITY, revokedAt ?? Number.POSITIVE_INFINITY)

/** A part of the log of API keys, as {@link RevocationPage}. */
export interface ApiKeyPage {
  /** The log is told from its beginning: what does not come by its end is not there any more. */
  readonly anew: boolean
  readonly entries: readonly ApiKeyRecord[]
  readonly cursor: string
  readonly more: boolean
}

/** API keys as stored: a log, in the order in which it was written. A key that was revoked comes again, with `revokedAt`. */
export interface ApiKeyStore {
  /** As {@link RevocationStore.list}. @throws {Unavailable} */
  readonly list: (after?: string) => Soon<ApiKeyPage>
  /**
   * A new key, or one that is revoked; durable when it resolves. What was once revoked stays so, whatever is appended later.
   * @throws {Unavailable}
   */
  readonly append: (record: ApiKeyRecord) => Promise<void>
  /** Keeps when keys were last used: id → seconds since the epoch. @throws {Unavailable} */
  readonly noteUsed: (uses: ReadonlyMap<string, number>) => Promise<void>
  /** When keys were last used; without those that never were. @throws {Unavailable} */
  readonly lastUsed: (ids: readonly string[]) => Promise<ReadonlyMap<string, number>>
}

/** What our issuer can sign with: ECDSA on P-256, Ed25519, RSA of 2048 bits (RFC 7518, section 3.1; RFC 8037). */
export const keyAlgorithms = ['ES256', 'EdDSA', 'RS256'] as const
export type KeyAlgorithm = (typeof keyAlgorithms)[number]

/** A signing key at rest. Times are whole seconds since the epoch. */
export interface StoredKey {
  readonly kid: string
  readonly algorithm: KeyAlgorithm
  /** Seconds since the epoch. */
  readonly createdAt: number
  /** It signs from here on; before, it is only published. */
  readonly activeAt: number
  /** It signs no more from here on (the next key's `activeAt`); undefined for the newest. */
  readonly retiredAt?: number
  /** Whole seconds that it stays after it signed last: the longest life of a token while it could sign. Absent in old state. */
  readonly keepFor?: number
  /** PKCS #8 PEM, or where the driver's keys are encrypted at rest, what the key cipher made of it. */
  readonly privateKey: string
}

/** What a key says of itself but its secret: of two writers that saw the same key, another one if one of them changed it. */
export const keyVersion = ({
  kid,
  activeAt,
  retiredAt = -1,
  keepFor = -1,
}: Omit<StoredKey, 'privateKey' | 'algorithm' | 'createdAt'>): string => `${kid} ${activeAt} ${retiredAt} ${keepFor}`

/** The signing keys as stored: one set, read and replaced as a whole. */
export interface KeyStore {
  /** @throws {Unavailable} */
  readonly list: () => Promise<readonly StoredKey[]>
  /**
   * Replaces the whole set, only where it still is what the caller saw, so that of several replicas one wins.
   * @param seen `keyVersion` of each key that the caller saw, in any order
   * @returns whether it was replaced
   */
  readonly replace: (seen: readonly string[], next: readonly StoredKey[]) => Promise<boolean>
}

/** Proofs of possession that were seen (RFC 9449, section 11.1), for as long as they could be shown again. */
export interface ReplayStore {
  /**
   * Takes a proof for itself, in one step: of several that show the same one, whichever replica they ask, one is told true.
   * @param key names the proof: letters, digits, `-` and `_`, at most 64
   * @param until seconds since the epoch up to which it is remembered
   * @throws {Unavailable} where it cannot be known, or be remembered
   */
  readonly claim: (key: string, until: number) => Soon<boolean>
}

/** Random secrets that all replicas share. */
export interface SecretStore {
  /**
   * Reads a secret, or makes it: of several replicas that do so at once, one's becomes everybody's.
   * @param candidate what it is to be where there is none
   * @throws {Unavailable}
   */
  readonly shared: (name: string, candidate: string) => Promise<string>
}

/** One state, three drivers: memory, SQLite file, Redis. */
export interface State {
  readonly kind: 'memory' | 'file' | 'redis'
  readonly labels: LabelStore
  readonly revocations: RevocationStore
  readonly apiKeys: ApiKeyStore
  readonly keys: KeyStore
  readonly replays: ReplayStore
  readonly secrets: SecretStore
  readonly records: RecordStore
  readonly audit: AuditLog
  readonly feed: ChangeFeed
  /** undefined while it answers, else why it does not. */
  readonly fault: () => string | undefined
  readonly close: () => Promise<void>
}

/** What own asks; answered from the near copy where it is fresh. */
export interface OwnerLookup {
  /**
   * @param source name under `sources`, or undefined for Postern's own labels
   * @param at performance.now() milliseconds, where the caller has just read them
   * @param strict no near copy will do: state is asked
   * @throws {Unavailable}
   */
  readonly labels: (source: string | undefined, resource: string, id: string, at?: number, strict?: boolean) => Soon<LookedUp>
}

/** Labels as found. */
export interface LookedUp {
  readonly labels: Labels | undefined
  readonly cache: 'hit' | 'miss'
}

/** What the revocation stage asks: memory only. */
export interface RevocationCheck {
  /**
   * @param nowMs milliseconds since the epoch
   * @param at performance.now() milliseconds, where the caller has just read them
   */
  readonly check: (principal: RevocablePrincipal, nowMs: number, at?: number) => 'clear' | 'revoked' | 'unavailable'
  /** By which level a principal is refused, for the log; undefined where it is not. */
  readonly level?: (principal: RevocablePrincipal, nowMs: number) => RevocationLevel | undefined
}

/** What of a principal can be revoked. */
export type RevocablePrincipal = Pick<Principal, 'tokenId' | 'subject' | 'issuedAt'> &
  Partial<Pick<Principal, 'validator' | 'rawSubject' | 'actor' | 'issued'>>

/** What validators ask of API keys: memory only. */
export interface ApiKeyLookup {
  /** @param digest SHA-256 of a presented key, hexadecimal. @returns `unavailable` where it cannot be known what is in force */
  readonly find: (digest: string) => ApiKeyRecord | undefined | 'unavailable'
  /** Notes that it was used, some time later and at most once a minute. @param nowMs milliseconds since the epoch */
  readonly used: (key: ApiKeyRecord, nowMs: number) => void
}

/** What exchange asks. */
export interface TokenRequest {
  readonly principal: Principal
  /** SPIFFE ID of the workload that acts, for `act`. */
  readonly workload: string | undefined
  readonly audience: string
  readonly scope: readonly string[]
  /** Seconds. */
  readonly ttl: number
  /** `<kind>:<id>` on owner routes. */
  readonly resource: string | undefined
  readonly via: 'issuer' | { readonly sts: string }
  /** Milliseconds since the epoch. */
  readonly now: number
}

export type TokenAnswer =
  | { readonly kind: 'token'; readonly token: BearerToken; readonly cache: 'hit' | 'miss' }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unavailable'; readonly detail: string }

/** What exchange reaches: the issuer in process, or a token endpoint. Never throws; what goes wrong is an answer. */
export interface DownstreamTokens {
  readonly obtain: (request: TokenRequest) => Soon<TokenAnswer>
}
