import { hash } from 'node:crypto'
import { maxActors, readActor } from '../core/actor.ts'
import { readConfirmation } from '../core/confirmation.ts'
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import { clockSkew } from '../core/jwt.ts'
import type { Principal } from '../core/principal.ts'
import { type Deny, deny } from '../core/reasons.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import { claimAt } from './claim-path.ts'

/** Which claims say what, each a path as {@link claimAt} reads it; what is undefined is never read. */
export interface ClaimNames {
  readonly subject: string
  /** A list of strings. */
  readonly roles: string | undefined
  /** A single string. */
  readonly role: string | undefined
  /** Space-separated (RFC 8693, section 4.2), or a list of strings. */
  readonly scopes: string | undefined
  readonly endUser: string | undefined
}

/** What turns a verified payload into a principal, the same for every validator of JWTs. */
export interface ClaimRules {
  /** The validator's name. */
  readonly validator: string
  readonly issuer: string
  /** `aud` must hold one of them (RFC 7519, section 4.1.3). */
  readonly audiences: readonly string[]
  readonly names: ClaimNames
  /** `subject_namespace`: stands before every subject; may be empty. */
  readonly namespace: string
  /** `may_assert`: the only roles that it may give; undefined for any. */
  readonly mayAssert: ReadonlySet<string> | undefined
  /** The only clients whose tokens are admitted; absent: any. */
  readonly authorizedParties?: AuthorizedParties
  /** A claim that tells access tokens from others of the issuer: where it is there, it holds one of these. */
  readonly kind?: { readonly claim: string; readonly values: readonly string[] }
  /** `spiffe`: every subject is a SPIFFE ID. */
  readonly subjects?: 'spiffe'
}

/** Which clients a token may have been made for. */
export interface AuthorizedParties {
  /** Claims that name the client, such as `azp` and `client_id`: each that is there is looked at, and one must be. */
  readonly claims: readonly string[]
  readonly allowed: ReadonlySet<string>
}

const maxSubjectLength = 1024

/**
 * Checks `iss` and `aud` (RFC 7519, section 4.1), and where the policy asks for it the client and the kind of token. An
 * `aud` may name others beside us (section 4.1.3); which client asked for the token is a rule of ID tokens alone (OpenID
 * Connect Core, section 3.1.3.7), so that it is looked at only with `authorized_parties`.
 */
export function checkParties(payload: JsonObject, rules: ClaimRules): Deny | undefined {
  if (payload['iss'] !== rules.issuer) return deny('invalid_credential', `iss is not ${rules.issuer}`)
  const aud = payload['aud']
  const named: readonly Json[] = Array.isArray(aud) ? aud : aud === undefined ? [] : [aud]
  if (!named.every((one) => typeof one === 'string')) return deny('invalid_credential', 'aud is no text and no list of texts')
  if (!named.some((one) => rules.audiences.includes(one as string)))
    return deny('invalid_credential', `aud holds none of ${rules.audiences.join(', ')}`)
  return checkClient(payload, rules.authorizedParties) ?? checkKind(payload, rules.kind)
}

function checkClient(payload: JsonObject, parties: AuthorizedParties | undefined): Deny | undefined {
  if (!parties) return undefined
  let found = false
  for (const claim of parties.claims) {
    const client = payload[claim]
    if (client === undefined) continue
    if (typeof client !== 'string' || !parties.allowed.has(client)) return deny('invalid_credential', `${claim} is no authorized party`)
    found = true
  }
  return found ? undefined : deny('invalid_credential', `the token names no client (${parties.claims.join(', ')})`)
}

function checkKind(payload: JsonObject, kind: ClaimRules['kind']): Deny | undefined {
  if (!kind) return undefined
  const value = payload[kind.claim]
  if (value === undefined || kind.values.includes(value as string)) return undefined
  return deny('invalid_credential', `the claim ${kind.claim} says that this is no access token`)
}

/**
 * Checks `exp` (required), `nbf` and `iat` with 60 s of skew.
 * @param now milliseconds since the epoch
 */
export function checkTimes(payload: JsonObject, now: number): Deny | undefined {
  const seconds = now / 1000
  const { exp, nbf, iat } = payload
  if (!Number.isFinite(exp)) return deny('invalid_credential', 'exp is missing or no number')
  if (nbf !== undefined && !Number.isFinite(nbf)) return deny('invalid_credential', 'nbf is no number')
  if (iat !== undefined && !Number.isFinite(iat)) return deny('invalid_credential', 'iat is no number')
  if ((nbf as number | undefined) !== undefined && (nbf as number) - clockSkew > seconds)
    return deny('invalid_credential', 'not valid yet (nbf)')
  if ((iat as number | undefined) !== undefined && (iat as number) - clockSkew > seconds)
    return deny('invalid_credential', 'issued in the future (iat)')
  return isPast(exp as number, now) ? deny('expired_credential', `expired at ${exp}`) : undefined
}

/** Whether an `exp` has passed, skew allowed. */
export const isPast = (exp: number, now: number): boolean => exp + clockSkew <= now / 1000

/**
 * The principal that a verified payload names.
 * @param credential digest, and the token itself where it was forwarded
 */
export function principalOf(
  payload: JsonObject,
  rules: ClaimRules,
  credential: { readonly digest: string; readonly token: string | undefined },
): Principal | Deny {
  const subject = claimAt(payload, rules.names.subject)
  // A lone surrogate has no UTF-8 of its own: two such subjects would look alike once written down.
  if (typeof subject !== 'string' || subject === '' || subject.length > maxSubjectLength || !subject.isWellFormed()) {
    return deny('invalid_credential', `${rules.names.subject} is no text of 1 to ${maxSubjectLength} characters`)
  }
  if (rules.subjects === 'spiffe' && !parseSpiffeId(subject)) return deny('invalid_credential', `${rules.names.subject} is no SPIFFE ID`)
  const actor = payload['act'] === undefined ? undefined : readActor(payload['act'])
  if (actor === 'unreadable') return deny('invalid_credential', `act is no chain of at most ${maxActors} actors with a sub each`)
  const { cnf } = payload
  const confirmation = cnf === undefined ? undefined : readConfirmation(cnf)
  if (cnf !== undefined && confirmation === undefined)
    return deny('invalid_credential', 'the token is bound to a key (cnf) in a way that cannot be proved here')
  const endUser = rules.names.endUser === undefined ? undefined : claimAt(payload, rules.names.endUser)
  const tokenId = payload['jti']
  const iat = payload['iat']
  return {
    validator: rules.validator,
    issuer: rules.issuer,
    subject: rules.namespace + subject,
    rawSubject: subject,
    roles: readRoles(payload, rules),
    scopes: readScopes(rules.names.scopes === undefined ? undefined : claimAt(payload, rules.names.scopes)),
    claims: payload,
    issuedAt: typeof iat === 'number' ? iat : 0,
    expiresAt: payload['exp'] as number,
    digest: credential.digest,
    ...(typeof tokenId === 'string' && tokenId !== '' && { tokenId }),
    ...(actor && { actor }),
    ...(typeof endUser === 'string' && endUser !== '' && endUser !== subject && { endUser }),
    ...(credential.token !== undefined && { subjectToken: credential.token }),
    ...(confirmation && { confirmation }),
  }
}

/** `roles` is a list of strings and `role` a single one; anything else there is no role. */
function readRoles(payload: JsonObject, rules: ClaimRules): string[] {
  const found = new Set<string>()
  const list = rules.names.roles === undefined ? undefined : claimAt(payload, rules.names.roles)
  if (Array.isArray(list)) for (const role of list) if (typeof role === 'string' && role !== '') found.add(role)
  const single = rules.names.role === undefined ? undefined : claimAt(payload, rules.names.role)
  if (typeof single === 'string' && single !== '') found.add(single)
  return boundRoles(found, rules.mayAssert)
}

/** What `may_assert` leaves of the presented roles. */
export const boundRoles = (roles: Iterable<string>, mayAssert: ReadonlySet<string> | undefined): string[] =>
  mayAssert === undefined ? [...roles] : [...roles].filter((role) => mayAssert.has(role))

function readScopes(value: Json | undefined): string[] {
  const names: readonly Json[] = typeof value === 'string' ? value.split(' ') : Array.isArray(value) ? value : []
  // A scope name holds no white space (RFC 6749, section 3.3), so such an element of a list is none.
  return [...new Set(names.filter((name) => typeof name === 'string' && /^\S+$/.test(name)) as string[])]
}

/** SHA-256 of a credential, hexadecimal: names it in caches without keeping it. */
export const digestOf = (credential: string): string => hash('sha256', credential)

/** SHA-256 of a payload whose token was not forwarded; the order of members makes no difference. */
export const digestOfPayload = (payload: JsonObject): string => hash('sha256', canonical(payload))

function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (!isJsonObject(value)) return JSON.stringify(value)
  const members = Object.keys(value)
    .sort()
    .map((name) => `${JSON.stringify(name)}:${canonical(value[name]!)}`)
  return `{${members.join(',')}}`
}
