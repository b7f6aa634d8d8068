import { type JsonObject, readJsonObject } from '../core/json.ts'
import { clockSkew, maxTokenBytes, parseJwt } from '../core/jwt.ts'
import type { Principal } from '../core/principal.ts'
import { narrow } from '../core/scopes.ts'

/** What was asked for: the measure of every answer. */
export interface Asked {
  readonly principal: Principal
  readonly audience: string
  readonly scope: readonly string[]
  /** Seconds: the life assumed for an opaque token whose answer tells none. */
  readonly ttl: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

export type StsAnswer =
  /** `expiresAt` in seconds since the epoch. */
  | { readonly kind: 'token'; readonly token: string; readonly expiresAt: number }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unavailable'; readonly detail: string }

const refused = (detail: string): StsAnswer => ({ kind: 'refused', detail })
/** What may stand in an Authorization header as a bearer token (RFC 6750, section 2.1). */
const bearerToken = /^[A-Za-z0-9._~+/-]+=*$/

/**
 * Holds a successful answer of a token endpoint (RFC 8693, section 2.2.1) against what was asked: the same
 * subject, exactly the audience, no more scope, no longer life. A token endpoint that answers with anything
 * else is misconfigured or worse, and its token goes nowhere.
 */
export function checkAnswer(body: JsonObject, asked: Asked, allowOpaque: boolean): StsAnswer {
  const { access_token: token, token_type: type, issued_token_type: issued } = body
  if (typeof token !== 'string' || token.length > maxTokenBytes || !bearerToken.test(token)) {
    return refused('the answer holds no access_token of up to 8 KiB')
  }
  if (typeof type !== 'string' || type.toLowerCase() !== 'bearer') return refused('token_type is not Bearer')
  if (issued !== undefined && !accessTokenTypes.includes(issued as string)) return refused('issued_token_type is no access token')
  const jwt = parseJwt(token)
  if (jwt) return checkClaims(token, jwt.payload, body, asked)
  if (!allowOpaque) return refused('the token is no JWT (allow_opaque: false)')
  const life = body['expires_in']
  if (life !== undefined && !(typeof life === 'number' && life > 0)) return refused('expires_in is no number above 0')
  const excess = tooMuchScope(body['scope'], asked)
  if (excess) return refused(excess)
  const end = Math.min(asked.now / 1000 + (typeof life === 'number' ? life : asked.ttl), asked.principal.expiresAt + clockSkew)
  return { kind: 'token', token, expiresAt: Math.floor(end) }
}

const accessTokenTypes: readonly string[] = ['urn:ietf:params:oauth:token-type:access_token', 'urn:ietf:params:oauth:token-type:jwt']

function checkClaims(token: string, claims: JsonObject, body: JsonObject, asked: Asked): StsAnswer {
  const { sub, aud, exp } = claims
  // The validator may map another claim to the subject; the token endpoint knows the token's own `sub`.
  const subject = asked.principal.claims['sub'] ?? asked.principal.rawSubject
  if (typeof sub !== 'string' || sub !== subject) return refused('sub is not that of the subject token')
  const only = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud
  if (only !== asked.audience) return refused(`aud is not exactly ${asked.audience}`)
  if (typeof exp !== 'number' || !Number.isFinite(exp)) return refused('exp is missing or no number')
  if (exp <= asked.now / 1000) return refused('exp has passed')
  if (exp > asked.principal.expiresAt + clockSkew) return refused('exp is later than that of the subject token')
  const excess = tooMuchScope(claims['scope'] ?? body['scope'], asked)
  return excess ? refused(excess) : { kind: 'token', token, expiresAt: exp }
}

/** With no scope asked for, the subject token's own are the ceiling. */
function tooMuchScope(granted: unknown, { scope, principal }: Asked): string | undefined {
  if (granted === undefined) return undefined
  if (typeof granted !== 'string') return 'scope is no text'
  const names = granted.split(' ').filter((name) => name !== '')
  const own = principal.claims['scope']
  const ceiling = scope.length > 0 ? scope : [...principal.scopes, ...(typeof own === 'string' ? own.split(' ') : [])]
  return narrow(ceiling, names).length === names.length ? undefined : 'scope is wider than what was asked'
}

/**
 * The error code of a refusal (RFC 6749, section 5.2), fit for a log: the endpoint's own code where it is one
 * of plain characters, never its free text, which may quote the request.
 */
export function errorCode(body: string): string {
  const code = readJsonObject(body)?.['error']
  return typeof code === 'string' && /^[a-z0-9_.-]{1,64}$/i.test(code) ? code : 'no error code'
}
