import { isBearer } from '../core/credential.ts'
import { isJsonObject, type Json, type JsonObject } from '../core/json.ts'
import { verifySignature } from '../core/jws.ts'
import { maxTokenBytes } from '../core/jwt.ts'
import type { Soon } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import { Deny, deny } from '../core/reasons.ts'
import type { BearerValidator, Credential, Presentation, Verdict } from '../core/validator.ts'
import type { KeyAnswer, VerificationKeys } from '../core/verification-keys.ts'
import { type ClaimRules, checkParties, checkTimes, principalOf } from './claims.ts'
import { checkHeader, type HeaderRules } from './jose-header.ts'

/** What is asked about a token (RFC 7662). */
export interface TokenIntrospection {
  /** What memory holds of a token. @param digest of the token */
  readonly recall: (digest: string) => Introspected | undefined
  /** Never rejects. */
  readonly ask: (token: string, digest: string) => Soon<Introspected>
}

export type Introspected =
  /** `until`: milliseconds since the epoch up to which the answer is used. The same object for as long as it is. */
  | { readonly kind: 'active'; readonly claims: JsonObject; readonly until: number }
  | { readonly kind: 'inactive' }
  | { readonly kind: 'unavailable'; readonly detail: string }

export interface IntrospectedOptions extends ClaimRules {
  readonly introspection: TokenIntrospection
  /** Where given, JWTs of this issuer are asked about too, once their signature is verified with these keys. */
  readonly signed?: HeaderRules & { readonly keys: VerificationKeys }
}

/** What may stand in an Authorization header as a bearer token (RFC 6750, section 2.1). */
const bearerToken = /^[A-Za-z0-9._~+/-]+=*$/
/** Keys and tokens that we make ourselves begin so: no other service is told of them. */
const ownPrefix = 'postern_'
/** What `token_type` and `token_use` say of an access token; a refresh token that is active is still no credential. */
const usable: Readonly<Record<string, readonly string[]>> = { token_type: ['bearer', 'dpop'], token_use: ['access_token', 'access'] }

/**
 * Admits tokens that only their issuer can read, by asking it. Nobody is asked about a token that is a JWT of another
 * issuer's, or that we made: a stranger's endpoint must not learn of it.
 * @param rest judges all other tokens
 */
export function oidcIntrospected(rest: BearerValidator, options: IntrospectedOptions): BearerValidator {
  const { introspection, signed } = options
  const kept = options.kind ? [...alwaysKept, options.kind.claim] : alwaysKept
  // An answer is judged once, for as long as memory holds it.
  const judged = new WeakMap<JsonObject, { readonly verdict: Principal | Deny; readonly claims: JsonObject }>()

  /** @param signed what the token says itself, where it is a JWT; only for an answer that was not judged before */
  const judge = (answer: Introspected, { token, digest }: Credential, now: number, signed?: JsonObject): Verdict => {
    if (answer.kind === 'unavailable') return deny('identity_unavailable', answer.detail)
    if (answer.kind === 'inactive') return deny('invalid_credential', 'the issuer says that the token is not active')
    let known = judged.get(answer.claims)
    if (!known) {
      // An answer need not repeat whose it is, nor when it ends (RFC 7662, section 2.2).
      const { active: _, ...said } = answer.claims
      const whole = { iss: options.issuer, exp: Math.ceil(answer.until / 1000), ...said }
      const claims = signed ? heldTo(whole, signed, kept) : whole
      const fault = checkParties(claims, options) ?? checkUse(claims)
      known = { verdict: fault ?? principalOf(claims, options, { digest, token }), claims }
      judged.set(answer.claims, known)
    }
    return known.verdict instanceof Deny ? known.verdict : (checkTimes(known.claims, now) ?? known.verdict)
  }

  const question = (credential: Credential, now: number, signed?: JsonObject): Soon<Verdict> => {
    const answer = introspection.ask(credential.token, credential.digest)
    return answer instanceof Promise ? answer.then((late) => judge(late, credential, now, signed)) : judge(answer, credential, now, signed)
  }

  const askSigned = (credential: Credential, header: HeaderRules, keys: VerificationKeys, now: number): Soon<Verdict> => {
    const { jwt, token } = credential
    if (!jwt) return deny('invalid_credential', 'no JWT in the strict form, or over 8 KiB')
    const fault = checkHeader(jwt.header, header)
    if (fault) return fault
    const alg = jwt.header['alg'] as Parameters<VerificationKeys['find']>[1]
    const verified = (answer: KeyAnswer): Soon<Verdict> => {
      if (answer.kind === 'unavailable') return deny('identity_unavailable', answer.detail)
      if (answer.kind === 'unknown') return deny('invalid_credential', 'no key of the issuer has this kid')
      if (!verifySignature(token, alg, answer.key)) return deny('invalid_credential', 'the signature does not verify')
      // Its end may be the issuer's to tell.
      return checkTimes({ exp: Number.MAX_VALUE, ...jwt.payload }, now) ?? question(credential, now, jwt.payload)
    }
    const answer = keys.find(jwt.header['kid'] as string | undefined, alg)
    return answer instanceof Promise ? answer.then(verified) : verified(answer)
  }

  return {
    ...rest,
    identify: (presentation: Presentation): Soon<Verdict> => {
      const { credential, now } = presentation
      // What Envoy verified is another credential than one that only the issuer can read.
      if (!isBearer(credential) || presentation.verified !== undefined) return rest.identify(presentation)
      const genuine = signed !== undefined && credential.claimedIssuer === options.issuer
      if (!genuine && !isOpaque(credential)) return rest.identify(presentation)
      const known = introspection.recall(credential.digest)
      // Another validator may have asked about a JWT, which was genuine by its own rules alone.
      if (known && (!genuine || known.kind !== 'active' || judged.has(known.claims))) return judge(known, credential, now)
      if (genuine) return askSigned(credential, signed, signed.keys, now)
      if (credential.token.length > maxTokenBytes || !bearerToken.test(credential.token)) return 'abstain'
      return question(credential, now)
    },
  }
}

/** A token that says nothing of itself, and is none that we made. */
// Whose it says it is comes first: that is remembered, and most tokens need not be taken apart for it.
const isOpaque = (credential: Credential): boolean =>
  credential.claimedIssuer === undefined && credential.jwt === undefined && !credential.token.startsWith(ownPrefix)

/** What a token is revoked by, and who acts with it: what gives rights is the answer's alone, since it may have been taken away. */
const alwaysKept: readonly string[] = ['jti', 'iat', 'act']

/**
 * An answer held to what the token itself says: an answer need not repeat it (RFC 7662, section 2.2), and what was signed with
 * an end, and for a key, does not lose them by that.
 * @param kept claims that the token tells where the answer does not
 */
function heldTo(answer: JsonObject, signed: JsonObject, kept: readonly string[]): JsonObject {
  const { exp, cnf } = signed
  const ends = answer['exp']
  return {
    ...Object.fromEntries(kept.flatMap((name) => (Object.hasOwn(signed, name) ? [[name, signed[name]!]] : []))),
    ...answer,
    ...(typeof exp === 'number' && typeof ends === 'number' && exp < ends && { exp }),
    ...(cnf !== undefined && { cnf: bound(answer['cnf'], cnf) }),
  }
}

/** All that either names; where one of them cannot be read, that one. */
function bound(told: Json | undefined, signed: Json): Json {
  if (told === undefined || !isJsonObject(signed)) return signed
  return isJsonObject(told) ? { ...told, ...signed } : told
}

function checkUse(claims: JsonObject): Deny | undefined {
  for (const [name, values] of Object.entries(usable)) {
    const value = claims[name]
    if (value !== undefined && !(typeof value === 'string' && values.includes(value.toLowerCase())))
      return deny('invalid_credential', `${name} says that this is no access token`)
  }
  const { token_type: type, cnf } = claims
  // RFC 9449, section 6.2: without its key nobody could prove it, and whoever has it would be believed.
  if (typeof type === 'string' && type.toLowerCase() === 'dpop' && !(isJsonObject(cnf) && Object.hasOwn(cnf, 'jkt')))
    return deny('invalid_credential', 'token_type says that the token is bound to a key, and cnf does not name it')
  return undefined
}
