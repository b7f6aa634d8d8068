import { isBearer } from '../core/credential.ts'
import { type JsonObject, sameJson } from '../core/json.ts'
import type { SignatureAlgorithm } from '../core/jws.ts'
import type { Principal } from '../core/principal.ts'
import { Deny, deny } from '../core/reasons.ts'
import type { BearerValidator, Credential, Presentation, Verdict } from '../core/validator.ts'
import { type ClaimRules, checkParties, checkTimes, digestOfPayload, isPast, principalOf } from './claims.ts'
import { accessTokenTypes, checkHeader, type HeaderRules } from './jose-header.ts'

/** Settings of an `oidc` validator with `verified_by: envoy`. */
export interface OidcEnvoyOptions extends ClaimRules {
  /** `payload_in_metadata` of the provider in Envoy's jwt_authn filter. */
  readonly metadataKey: string
  /** Whether that provider forwards the token; then it must be there. */
  readonly forward: boolean
  /** Signature algorithms that a token may name; looked at where the token itself arrives. */
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Accepted `typ` headers; those of access tokens unless given. */
  readonly types?: HeaderRules['types']
}

interface Known {
  readonly principal: Principal
  /** undefined where Envoy did not forward the token. */
  readonly token: string | undefined
}

/**
 * Admits what Envoy's jwt_authn filter verified, and fetches nothing. Envoy's word is not taken blindly: it
 * looks for `Bearer ` anywhere in the value, lets padding, white space and `crit` through, and checks no
 * `iat`. So parties and times are checked again, and where the token itself arrives it must
 * be exactly the one whose payload Envoy tells of.
 *
 * The decoder hands out one object for one payload: a principal is found again by that, without a digest.
 */
export function oidcByEnvoy(options: OidcEnvoyOptions): BearerValidator {
  const known = new WeakMap<JsonObject, Known>()
  const headerRules = { algorithms: options.algorithms, types: options.types ?? accessTokenTypes }

  /** All that stays as it is for this payload and this token. */
  const judge = (payload: JsonObject, credential: Credential): Principal | Deny => {
    if (credential.places.length === 0) {
      if (options.forward) return deny('invalid_credential', 'Envoy did not forward the token (forward: true)')
      return principalOf(payload, options, { digest: digestOfPayload(payload), token: undefined })
    }
    const { token, jwt } = credential
    if (!jwt) return deny('invalid_credential', 'the token beside a verified payload is no strict JWT')
    const refused = checkHeader(jwt.header, headerRules)
    if (refused) return refused
    if (!sameJson(jwt.payload, payload)) return deny('invalid_credential', 'the token is not the one that Envoy verified')
    return principalOf(payload, options, { digest: credential.digest, token })
  }

  const admit = (payload: JsonObject, credential: Credential, now: number): Principal | Deny => {
    const presented = credential.places.length > 0
    const before = known.get(payload)
    if (before && before.token === (presented ? credential.token : undefined) && (!presented || isPlainBearer(credential)))
      return checkTimes(payload, now) ?? before.principal
    const fault = checkParties(payload, options) ?? checkTimes(payload, now)
    if (fault) return fault
    if (presented && !isPlainBearer(credential))
      return deny('invalid_credential', 'Authorization beside a verified payload is no single Bearer token')
    const principal = judge(payload, credential)
    if (!(principal instanceof Deny)) known.set(payload, { principal, token: presented ? credential.token : undefined })
    return principal
  }

  return {
    name: options.validator,
    subjects: options.namespace,
    presents: 'bearer',
    trustsEnvoy: true,
    identify: ({ request, credential, now }: Presentation): Verdict => {
      const payload = request.verifiedPayload(options.metadataKey)
      return payload ? admit(payload, credential, now) : unverified(credential, options.issuer, now)
    },
  }
}

/** Exactly `Bearer` (or `DPoP`), one space and the token: `scheme` is read in any case. What stands elsewhere is the token alone. */
const isPlainBearer = ({ authorization, token }: Credential): boolean =>
  authorization === undefined ||
  (authorization.length === token.length + 'Bearer '.length && authorization.startsWith('Bearer ')) ||
  (authorization.length === token.length + 'DPoP '.length && authorization.startsWith('DPoP '))

/** A token of this issuer that Envoy let pass without verifying it is rejected; any other credential is another's. */
function unverified(credential: Credential, issuer: string, now: number): Verdict {
  if (!isBearer(credential) || credential.claimedIssuer !== issuer) return 'abstain'
  const exp = credential.jwt?.payload['exp']
  if (typeof exp === 'number' && isPast(exp, now)) return deny('expired_credential', `expired at ${exp}; Envoy did not verify it`)
  return deny('invalid_credential', 'Envoy did not verify this token')
}
