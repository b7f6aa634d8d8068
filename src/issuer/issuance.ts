import type { AuditEvent } from '../core/audit-event.ts'
import type { Minted, OwnToken, TokenOrder } from '../core/issuer.ts'
import type { JsonObject } from '../core/json.ts'
import type { AuditSink } from '../core/ports.ts'
import type { RecordStore } from '../core/record-store.ts'
import type { Mint } from './mint.ts'

/** What the issuer did, for the audit trail. */
export type Act = Pick<AuditEvent, 'type' | 'outcome'> & Partial<Pick<AuditEvent, 'actor' | 'reason' | 'target' | 'detail'>>

/** Makes what happened durable before its caller is answered. @throws {Unavailable} */
export type RecordAct = (act: Act) => Promise<void>

/** @param clock milliseconds since the epoch */
export const recordingActs =
  (options: {
    readonly audit: Pick<AuditSink, 'commit'>
    readonly newId: () => string
    readonly realm: string
    readonly clock: () => number
  }): RecordAct =>
  (act) =>
    options.audit.commit({ id: options.newId(), time: new Date(options.clock()).toISOString(), realm: options.realm, ...act })

export interface IssuanceNeeds {
  readonly mint: Pick<Mint, 'ordered'>
  readonly records: Pick<RecordStore, 'write'>
  readonly record: RecordAct
  /** Told the scopes of each token. */
  readonly onIssued: (scopes: readonly string[]) => void
}

/** Why a token is issued: for the audit trail, never a credential. */
export interface Issue {
  /** Who asked for it: a client, an agent. */
  readonly actor: string
  /** `client_credentials`, `token_exchange`, `register`, `renew`, `delegate`, … */
  readonly grant: string
  readonly detail?: JsonObject
}

/**
 * Issues tokens: mints, remembers the token until its end (so that its expiry can be told), and has it in the audit trail
 * before it is handed out. @throws {Unavailable}
 */
export type Issuance = (order: TokenOrder, issue: Issue) => Promise<Minted>

/** What is remembered of a token: a record of the kind `token`, its id the `jti`. */
export const tokenRecord = (minted: Pick<Minted, 'id' | 'expiresAt'>, order: TokenOrder) => ({
  id: minted.id,
  value: { subject: order.subject, ...(order.client !== undefined && { client: order.client }), kind: order.kind },
  until: minted.expiresAt,
})

export const issuing =
  ({ mint, records, record, onIssued }: IssuanceNeeds): Issuance =>
  async (order, { actor, grant, detail }) => {
    const minted = mint.ordered(order)
    const { id, value, until } = tokenRecord(minted, order)
    await records.write('token', { id, value, until }, undefined)
    await record({
      type: 'token_issued',
      outcome: 'success',
      actor,
      target: minted.id,
      detail: {
        grant,
        kind: order.kind,
        subject: order.subject,
        audience: typeof order.audience === 'string' ? order.audience : [...order.audience],
        ...(order.client !== undefined && { client: order.client }),
        ...(order.scopes.length > 0 && { scope: [...order.scopes] }),
        expires_at: minted.expiresAt,
        ...detail,
      },
    })
    onIssued(order.scopes)
    return minted
  }

/** Whether a token of ours has been revoked, at any level. @throws {Unavailable} where that cannot be known */
export type IsRevoked = (token: OwnToken) => boolean
