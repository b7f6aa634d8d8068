import type { JsonObject } from './json.ts'

/** One line of the audit trail. Never holds a credential. */
export interface AuditEvent {
  /** UUIDv7. */
  readonly id: string
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string
  readonly type:
    | 'decision'
    | 'token_issued'
    | 'token_revoked'
    | 'api_key_created'
    | 'api_key_revoked'
    | 'owner_changed'
    | 'key_rotated'
    | 'admin_login'
    | 'policy_reloaded'
  readonly outcome: 'allow' | 'deny' | 'success' | 'failure'
  readonly realm: string
  /** Who did it: the prefixed subject, an admin, or a workload; absent where nobody was identified. */
  readonly actor?: string
  readonly reason?: string
  readonly decisionId?: string
  /** What it was done to: a route, a resource, a token id, a key id. */
  readonly target?: string
  readonly detail?: JsonObject
}
