import type { JWTPayload } from 'jose'
import { JOSEError, JWTClaimValidationFailed, JWTExpired } from 'jose/errors'
import { jwtVerify } from 'jose/jwt/verify'
import type { IssuerKeys, KeysOptions } from './keys.ts'
import { openKeys } from './keys.ts'
import { insufficient, invalidToken, Refusal } from './refusal.ts'

/** Signatures by a private key: a shared secret would let each upstream mint for the others. */
export type Algorithm = 'ES256' | 'ES384' | 'EdDSA' | 'RS256' | 'PS256'
const algorithms: readonly string[] = ['ES256', 'ES384', 'EdDSA', 'RS256', 'PS256']

export interface VerifierOptions {
  /** The `iss` of the tokens, exactly: `listen.issuer.url` of Postern, or a realm of Keycloak. */
  readonly issuer: string
  /** One's own name. A token for others too is refused. */
  readonly audience: string
  /** Where the issuer's keys are. */
  readonly keys: KeysOptions | IssuerKeys
  /**
   * The `typ` of the header: `JWT` unless given, as Postern writes it in downstream tokens, and Keycloak. Postern's tokens for the edge
   * (`at+jwt`), for its admin listener and its page have others, and are refused. `any` for issuers that write none.
   */
  readonly type?: 'JWT' | 'at+jwt' | 'any'
  /** ES256, EdDSA and RS256 unless given. */
  readonly algorithms?: readonly Algorithm[]
  /** Seconds that two clocks may differ by; 60 unless given. */
  readonly skew?: number
}

/** What a request has to be allowed to do. */
export interface Demand {
  /**
   * The resource that is served, `<kind>:<id>`: the token must name this very one. `none`: it must name none. `any`: not looked at, for
   * issuers that write no `resource`, such as Keycloak.
   */
  readonly resource: `${string}:${string}` | 'none' | 'any'
  /** Each must be in the token's `scope`. */
  readonly scopes?: readonly string[]
}

/** Who a request is made for, as a verified token says. */
export interface Caller {
  readonly subject: string
  readonly issuer: string
  readonly scopes: readonly string[]
  readonly resource: string | undefined
  /** Who acts for the subject, the latest first (RFC 8693, section 4.1): SPIFFE IDs or subjects. */
  readonly actors: readonly string[]
  readonly tokenId: string | undefined
  /** Seconds since the epoch. */
  readonly expiresAt: number
  /** The SPIFFE ID that the peer of the connection has proved; undefined without mTLS. */
  readonly workload: string | undefined
  readonly claims: Readonly<JWTPayload>
}

export interface Verifier {
  /** @param token compact form. @throws {Refusal} */
  readonly verify: (token: string, demand: Demand) => Promise<Caller>
  readonly keys: IssuerKeys
}

/**
 * Makes a verifier of downstream tokens (RFC 7519, section 7.2; RFC 8725), and begins to fetch the keys.
 * @throws {TypeError} for options under which a token could not be trusted
 */
export function createVerifier(options: VerifierOptions): Verifier {
  const { issuer, audience, type = 'JWT', skew = 60 } = options
  const allowed = [...(options.algorithms ?? (['ES256', 'EdDSA', 'RS256'] as const))]
  if (issuer === '' || audience === '') throw new TypeError('expected an issuer and an audience')
  const foreign = allowed.find((one) => !algorithms.includes(one))
  if (foreign !== undefined || allowed.length === 0) throw new TypeError(`algorithms: expected some of ${algorithms.join(', ')}`)
  if (!(skew >= 0 && skew <= 300)) throw new TypeError(`skew ${skew}: expected 0 to 300 seconds`)
  const keys = 'find' in options.keys ? options.keys : openKeys(options.keys)
  void keys.refresh()
  const rules = {
    ...{ issuer, audience, algorithms: allowed, clockTolerance: skew, requiredClaims: ['sub', 'exp', 'iat'] },
    ...(type !== 'any' && { typ: type }),
  }
  const verify = async (token: string, demand: Demand): Promise<Caller> => {
    let payload: JWTPayload
    try {
      payload = (await jwtVerify(token, keys.find, rules)).payload
    } catch (cause) {
      throw asRefusal(cause)
    }
    return callerOf(payload, audience, skew, demand)
  }
  return { verify, keys }
}

function callerOf(claims: JWTPayload, audience: string, skew: number, { resource, scopes: needed = [] }: Demand): Caller {
  const { sub, iss = '', aud, iat = 0, exp = 0, jti } = claims
  if (typeof sub !== 'string' || sub === '') throw invalidToken('sub is empty, or no string')
  // jose is content with a list that holds ours: such a token can be used at the others too.
  const only = Array.isArray(aud) && aud.length === 1 ? aud[0] : aud
  if (only !== audience) throw invalidToken('aud names others too')
  if (iat > Date.now() / 1000 + skew) throw invalidToken('iat lies in the future')
  const named = claims['resource']
  if (resource === 'none' ? named !== undefined : resource !== 'any' && named !== resource)
    throw insufficient(`the token is for ${typeof named === 'string' ? JSON.stringify(named) : 'no resource'}, expected ${resource}`)
  const scopes = typeof claims['scope'] === 'string' ? claims['scope'].split(' ').filter((one) => one !== '') : []
  const missing = needed.find((one) => !scopes.includes(one))
  if (missing !== undefined) throw insufficient(`the token lacks the scope ${missing}`)
  return {
    ...{ subject: sub, issuer: iss, scopes, resource: typeof named === 'string' ? named : undefined, actors: actorsOf(claims['act']) },
    ...{ tokenId: jti, expiresAt: exp, workload: undefined, claims },
  }
}

/** Deeper chains than Postern makes end here. */
const mostActors = 16

function actorsOf(act: unknown): string[] {
  const chain: string[] = []
  let at = act
  while (typeof at === 'object' && at !== null && chain.length < mostActors) {
    const { sub, act: next } = at as { sub?: unknown; act?: unknown }
    if (typeof sub !== 'string') break
    chain.push(sub)
    at = next
  }
  return chain
}

function asRefusal(cause: unknown): Refusal {
  if (cause instanceof Refusal) return cause
  if (cause instanceof JWTExpired) return invalidToken('the token has expired')
  if (cause instanceof JWTClaimValidationFailed) return invalidToken(`${cause.claim}: ${cause.reason}`)
  return invalidToken(cause instanceof JOSEError ? cause.code : 'the token cannot be read')
}
