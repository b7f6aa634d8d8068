import { readActor } from '../core/actor.ts'
import { readConfirmation } from '../core/confirmation.ts'
import type { Json, JsonObject } from '../core/json.ts'
import { claimedIssuer, parseJwt } from '../core/jwt.ts'
import type { Soon } from '../core/ports.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import type { UnverifiedJwt } from '../core/validator.ts'
import type { SubjectAnswer, SubjectVerifier, TokenSubject } from './subject-token.ts'

/** What became of the header, the signature and the times of a foreign token; whom it names was not looked at. */
export type ForeignAnswer =
  | { readonly kind: 'verified' }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unavailable'; readonly detail: string }

/** Verifies a token by the keys of one issuer. @param now milliseconds since the epoch */
export type VerifyForeign = (token: string, jwt: UnverifiedJwt, now: number) => Soon<ForeignAnswer>

/** Whose tokens are swapped for ours, and for what. */
export interface FederationRule {
  readonly name: string
  /** `iss`, letter by letter; undefined: the trust domain of `sub` says whose token it is (JWT-SVID, section 3). */
  readonly issuer: string | undefined
  /** `sub` must be a SPIFFE ID of it. */
  readonly trustDomain: string | undefined
  readonly audience: string
  /** Rules of one issuer share it, so that a token is verified once. */
  readonly verify: VerifyForeign
  /** May throw: then it is not known whether the rule was meant for this token, and no other rule is asked. */
  readonly when: ((claims: JsonObject) => boolean) | undefined
  readonly subject: (claims: JsonObject) => { readonly subject: string } | { readonly fault: string }
  readonly roles: readonly string[]
  readonly scopes: readonly string[]
  /** What our tokens may be for. */
  readonly audiences: readonly string[]
  /** Seconds. */
  readonly ttl: number
}

const refuse = (detail: string): SubjectAnswer => ({ kind: 'refused', detail })

/**
 * Verifies tokens of workloads that other systems issued: CI jobs, service accounts, JWT-SVIDs. Of the rules for a token's
 * issuer and audience the first whose `when` holds says who it is to us. A token may be swapped as often as it is valid: it is
 * a bearer token anyway. What cannot be known (keys that cannot be had, a `when` that fails) never leads on to the next rule.
 */
export const createFederation =
  (rules: readonly FederationRule[]): SubjectVerifier =>
  async (token, now) => {
    const jwt = parseJwt(token)
    if (!jwt) {
      const claimed = claimedIssuer(token)
      const ours = claimed !== undefined && rules.some(({ issuer }) => issuer === claimed)
      return ours ? refuse('no JWT in the strict form, or over 8 KiB') : { kind: 'unknown' }
    }
    const { payload } = jwt
    const named = rules.filter((rule) => names(rule, payload))
    if (named.length === 0) return { kind: 'unknown' }
    const meant = named.filter(({ audience }) => hasAudience(payload['aud'], audience))
    if (meant.length === 0) return refuse(`aud holds none of ${[...new Set(named.map(({ audience }) => audience))].join(', ')}`)
    return await judge(meant, token, jwt, now)
  }

async function judge(rules: readonly FederationRule[], token: string, jwt: UnverifiedJwt, now: number): Promise<SubjectAnswer> {
  const answers = new Map<VerifyForeign, ForeignAnswer>()
  let refusal = 'no rule is for this token'
  for (const rule of rules) {
    const answer = answers.get(rule.verify) ?? (await rule.verify(token, jwt, now))
    answers.set(rule.verify, answer)
    if (answer.kind === 'unavailable') return answer
    if (answer.kind === 'refused') {
      refusal = `${rule.name}: ${answer.detail}`
      continue
    }
    if (!inTrustDomain(rule, jwt.payload)) {
      refusal = `${rule.name}: sub is no SPIFFE ID of ${rule.trustDomain}`
      continue
    }
    const held = holds(rule, jwt.payload)
    if (held === 'failed') return refuse(`${rule.name}: the condition could not be evaluated on these claims`)
    if (held) return subjectOf(rule, jwt.payload, now)
    refusal = `${rule.name}: the condition does not hold`
  }
  return refuse(refusal)
}

/** Whose token it says it is: nothing is verified yet. */
const names = (rule: FederationRule, payload: JsonObject): boolean =>
  // With an issuer a wrong `sub` is its bad token; without one it is somebody else's.
  rule.issuer === undefined ? inTrustDomain(rule, payload) : payload['iss'] === rule.issuer

const inTrustDomain = ({ trustDomain }: FederationRule, { sub }: JsonObject): boolean =>
  trustDomain === undefined || (typeof sub === 'string' && parseSpiffeId(sub)?.trustDomain === trustDomain)

/** `aud` is a text or a list of texts (RFC 7519, section 4.1.3). */
function hasAudience(aud: Json | undefined, audience: string): boolean {
  if (!Array.isArray(aud)) return aud === audience
  return aud.every((one) => typeof one === 'string') && aud.includes(audience)
}

function holds({ when }: FederationRule, claims: JsonObject): boolean | 'failed' {
  try {
    return when === undefined || when(claims)
  } catch {
    // A condition that reads what is not there; what the library says of it could show claims.
    return 'failed'
  }
}

function subjectOf(rule: FederationRule, claims: JsonObject, now: number): SubjectAnswer {
  const { exp, act, cnf } = claims
  // Skew is for tokens that are used now: of one that has expired nothing could be made that has not.
  if (typeof exp !== 'number' || exp <= now / 1000) return refuse(`${rule.name}: the token has expired`)
  const actor = act === undefined ? undefined : readActor(act)
  if (actor === 'unreadable') return refuse(`${rule.name}: act is no chain of actors with a sub each`)
  const confirmation = cnf === undefined ? undefined : readConfirmation(cnf)
  if (cnf !== undefined && !confirmation)
    return refuse(`${rule.name}: the token is bound to a key (cnf) in a way that cannot be proved here`)
  const filled = rule.subject(claims)
  if ('fault' in filled) return refuse(`${rule.name}: ${filled.fault}`)
  const subject: TokenSubject = {
    by: { kind: 'federation', name: rule.name },
    subject: filled.subject,
    roles: rule.roles,
    scopes: rule.scopes,
    claims,
    actor,
    confirmation,
    expiresAt: exp,
    client: undefined,
    task: undefined,
    orchestration: undefined,
    exchanged: false,
    grants: { audiences: rule.audiences, ttl: rule.ttl },
  }
  return { kind: 'subject', subject }
}
