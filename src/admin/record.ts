import type { AuditEvent } from '../core/audit-event.ts'
import type { AdminOptions } from './ports.ts'

/** An admin act for the audit trail. */
export type Act = Pick<AuditEvent, 'type' | 'outcome'> & Partial<Pick<AuditEvent, 'actor' | 'reason' | 'target' | 'detail'>>

/** Makes an admin act durable before its caller is answered. @throws {Unavailable} */
export const record = (options: Pick<AdminOptions, 'audit' | 'newId' | 'clock' | 'realm'>, act: Act): Promise<void> =>
  options.audit.commit({ id: options.newId(), time: new Date(options.clock()).toISOString(), realm: options.realm, ...act })
