import type { KeyInfo } from '../core/issuer.ts'

/** A condition as Kubernetes writes them: `JWKSReady` of an issuer, for one. */
export interface Condition {
  readonly type: string
  /** What it is a condition of: the validator's or token service's name. */
  readonly subject?: string
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
  readonly [more: string]: unknown
}

/** A worker process, where there are several. */
export interface WorkerStatus {
  /** From 1; one that replaces another has its number. */
  readonly worker: number
  readonly pid: number
  readonly serving: boolean
  /** When it was started. */
  readonly since: string
  /** Of the policy in force there; null until it serves. */
  readonly revision: string | null
  /** Connections of Envoy that it has. */
  readonly connections: number
}

/** What `/status` and `postern status` show. Times are RFC 3339. */
export interface StatusReport {
  readonly version: string
  readonly realm: string
  /** Of the policy in force. */
  readonly revision: string
  /** Since when this policy is in force. */
  readonly since: string
  readonly started: string
  readonly uptime_seconds: number
  readonly ready: boolean
  readonly conditions: readonly Condition[]
  readonly state: {
    readonly kind: string
    readonly up: boolean
    readonly fault?: string
    /** What an acknowledged revocation relies on, in one sentence. */
    readonly durability?: string
  }
  /** Milliseconds since the change feed was heard; null where nobody else can change state. */
  readonly feed: { readonly age_ms: number | null; readonly trusted: boolean }
  readonly keys: readonly KeyInfo[]
  /** Absent where no validator admits API keys. `trusted`: whether it is known which are in force. */
  readonly api_keys?: { readonly known: number; readonly trusted: boolean }
  /** Absent where one process does everything. */
  readonly workers?: readonly WorkerStatus[]
  readonly breakers: Readonly<Record<string, string>>
  /** Routes with `enforce: false`. */
  readonly unenforced: readonly string[]
  /** What lint says of the policy in force. */
  readonly warnings: readonly string[]
  /** The last changed file that was refused, unless one was taken since. */
  readonly reload_fault?: { readonly time: string; readonly sentences: readonly string[] }
}

/** What `/readyz` tells. */
export interface Readiness {
  readonly ready: boolean
  /** Why not, a sentence each. */
  readonly reasons: readonly string[]
}

/** What readiness depends on. */
export interface ReadinessFacts {
  /** All listeners are open. */
  readonly listening: boolean
  readonly draining: boolean
  readonly policyLoaded: boolean
  /** The issuer has a key that signs; true where nothing is minted. */
  readonly keysReady: boolean
  /** Absent where one process does everything. */
  readonly workers?: { readonly serving: number; readonly wanted: number } | undefined
}

/**
 * Whether this replica is to be sent requests. State being down does not take it out: each check then answers
 * `owner_unavailable` or `revocation_unavailable`, which Envoy logs with its reason, and routes that need no state
 * go on. All replicas share the state, so that leaving rotation would only turn clear denials into connection errors.
 */
export function readinessOf(facts: ReadinessFacts): Readiness {
  const reasons: string[] = []
  if (!facts.policyLoaded) reasons.push('no policy is in force')
  if (!facts.listening) reasons.push('not all listeners are open')
  if (!facts.keysReady) reasons.push('the issuer has no key that signs')
  const { workers } = facts
  if (workers && workers.serving < workers.wanted) reasons.push(`${workers.serving} of ${workers.wanted} workers serve`)
  if (facts.draining) reasons.push('the service is draining')
  return { ready: reasons.length === 0, reasons }
}
