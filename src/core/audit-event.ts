import type { JsonObject } from './json.ts'

/** Everything that an event of the audit trail can tell of. */
export const auditEventTypes = [
  'decision',
  'token_issued',
  'token_refused',
  'token_released',
  'token_expired',
  'token_revoked',
  'agent_registered',
  'agent_expired',
  'launch_token_created',
  'app_created',
  'app_updated',
  'app_removed',
  'app_login',
  'audit_started',
  'audit_checkpoint',
  'api_key_created',
  'api_key_revoked',
  'owner_changed',
  'owner_captured',
  'owner_released',
  'owner_conflict',
  'owners_imported',
  'takeover',
  'orphan',
  'key_rotated',
  'admin_login',
  'policy_reloaded',
] as const
export type AuditEventType = (typeof auditEventTypes)[number]

export const auditOutcomes = ['allow', 'deny', 'success', 'failure'] as const

/** One line of the audit trail. Never holds a credential. */
export interface AuditEvent {
  /** UUIDv7. */
  readonly id: string
  /** RFC 3339, UTC, milliseconds. */
  readonly time: string
  readonly type: AuditEventType
  readonly outcome: (typeof auditOutcomes)[number]
  readonly realm: string
  /** Who did it: the prefixed subject, an admin, or a workload; absent where nobody was identified. */
  readonly actor?: string
  readonly reason?: string
  readonly decisionId?: string
  /** What it was done to: a route, a resource, a token id, a key id. */
  readonly target?: string
  readonly detail?: JsonObject
}
