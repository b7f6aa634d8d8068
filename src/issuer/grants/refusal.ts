import type { Grant } from '../../core/issuer-client.ts'
import type { JsonObject } from '../../core/json.ts'
import type { GrantAnswer, GrantError, GrantRequest } from '../grants.ts'
import type { RecordAct } from '../issuance.ts'
import { many, one } from './params.ts'

/** Why nothing was granted, in the audit trail's word. */
export type RefusalReason =
  | 'grant_not_allowed'
  | 'malformed_request'
  | 'subject_refused'
  | 'subject_not_allowed'
  | 'actor_refused'
  | 'may_act'
  | 'too_many_actors'
  | 'exchanged_before'
  | 'audience_not_allowed'
  | 'scope_not_allowed'
  | 'not_proved'
  | 'token_too_long'
  | 'subject_ends'
  | 'refresh_refused'
  | 'refresh_reused'
  | 'revoked'

/** What the policy behind the token endpoint did not grant. */
export interface Refusal {
  readonly kind: 'refusal'
  readonly error: GrantError
  readonly reason: RefusalReason
  /** A sentence for whoever wrote the client; says nothing about anybody else. */
  readonly description: string
  /** For the audit trail alone; never a credential. */
  readonly detail?: string | undefined
  /** `DPoP-Nonce` (RFC 9449, section 8) */
  readonly nonce?: string
}

export const refuse = (error: GrantError, reason: RefusalReason, description: string, detail?: string): Refusal => ({
  kind: 'refusal',
  error,
  reason,
  description,
  detail,
})

/**
 * The code for a subject or actor token that is not accepted. RFC 8693, section 2.2.2 names invalid_request and lets others be
 * used where they fit: invalid_grant tells a client that asks rightly from one that has to be mended.
 */
export const tokenNotAccepted = 'invalid_grant' satisfies GrantError

export const isRefusal = (value: object): value is Refusal => 'kind' in value && value.kind === 'refusal'

/** What was granted: the members of the answer. */
export interface Granted {
  readonly kind: 'granted'
  readonly body: Readonly<Record<string, string | number>>
}

export interface RefusalTrail {
  readonly record: RecordAct
  /**
   * Whether a refusal of this client is written, so that a client in a loop fills no trail.
   * @returns how many were counted since the last that was; undefined where this one is counted too
   */
  readonly admits: (client: string) => number | undefined
}

/** Values of a request as the trail keeps them. */
const longest = 256
const most = 8
/** A credential in the wrong parameter is none of the trail's business. */
const looksLikeJwt = /^eyJ[\w-]*\./
const short = (texts: readonly string[]): string[] =>
  texts.slice(0, most).map((text) => (looksLikeJwt.test(text) ? '(a token)' : text.slice(0, longest)))

/**
 * Answers by a grant's policy, and has each refusal in the audit trail before it is told. What it rejects with, it rejects with.
 */
export const audited =
  (grant: Grant, trail: RefusalTrail, judge: (request: GrantRequest) => Promise<Granted | Refusal>) =>
  async (request: GrantRequest): Promise<GrantAnswer> => {
    const judged = await judge(request)
    if (judged.kind === 'granted') return judged
    const suppressed = trail.admits(request.client.id)
    if (suppressed !== undefined) await trail.record(eventOf(grant, request, judged, suppressed))
    const { error, description, nonce } = judged
    return { kind: 'refused', error, description, ...(nonce !== undefined && { nonce }) }
  }

function eventOf(grant: Grant, { client, params, remoteAddress }: GrantRequest, refusal: Refusal, suppressed: number) {
  const audience = short([...many(params, 'audience'), ...many(params, 'resource')])
  const scope = one(params, 'scope')
  const detail: JsonObject = {
    grant,
    error: refusal.error,
    ...(refusal.detail !== undefined && { detail: refusal.detail }),
    ...(audience.length > 0 && { audience }),
    ...(scope !== undefined && { scope: short(scope.split(' ')) }),
    ...(remoteAddress !== '' && { address: remoteAddress }),
    ...(suppressed > 0 && { suppressed }),
  }
  return { type: 'token_refused' as const, outcome: 'failure' as const, actor: client.id, reason: refusal.reason, detail }
}
