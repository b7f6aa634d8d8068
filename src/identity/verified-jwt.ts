import type { KeyObject } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { isBearer } from '../core/credential.ts'
import { type SignatureAlgorithm, verifySignature } from '../core/jws.ts'
import type { Soon } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import { Deny, deny } from '../core/reasons.ts'
import type { Presentation, UnverifiedJwt, Verdict } from '../core/validator.ts'
import type { KeyAnswer, VerificationKeys } from '../core/verification-keys.ts'
import { type ClaimRules, checkParties, checkTimes, principalOf } from './claims.ts'
import { checkHeader, type HeaderRules } from './jose-header.ts'

export interface VerifiedJwtOptions extends ClaimRules, HeaderRules {
  readonly keys: VerificationKeys
  /** How many verified tokens are remembered; 10,000 unless given. */
  readonly remember?: number
}

interface Verified {
  readonly principal: Principal
  readonly kid: string | undefined
  readonly alg: SignatureAlgorithm
  readonly key: KeyObject
}

/**
 * Verifies JWTs of one issuer (RFC 7519, section 7.2; RFC 8725). Headers that carry or point at keys (`jwk`,
 * `jku`, `x5c`, `x5u`) are never looked at. A verified token is remembered by its digest; from then on only
 * its times are checked, and that its key still is among the issuer's.
 */
export function verifiedJwt(options: VerifiedJwtOptions): (presentation: Presentation) => Soon<Verdict> {
  const verified = new LRUCache<string, Verified>({ max: options.remember ?? 10_000 })

  const recall = (digest: string, now: number): Verdict | undefined => {
    const known = verified.get(digest)
    if (!known) return undefined
    const answer = options.keys.find(known.kid, known.alg)
    if (answer instanceof Promise || answer.kind !== 'key' || !(answer.key === known.key || answer.key.equals(known.key))) {
      verified.delete(digest)
      return undefined
    }
    return checkTimes(known.principal.claims, now) ?? known.principal
  }

  const withKey = (answer: KeyAnswer, token: string, jwt: UnverifiedJwt, digest: string, now: number): Verdict => {
    if (answer.kind === 'unavailable') return deny('identity_unavailable', answer.detail)
    if (answer.kind === 'unknown') return deny('invalid_credential', 'no key of the issuer has this kid')
    const alg = jwt.header['alg'] as SignatureAlgorithm
    if (!verifySignature(token, alg, answer.key)) return deny('invalid_credential', 'the signature does not verify')
    const fault = checkParties(jwt.payload, options) ?? checkTimes(jwt.payload, now)
    if (fault) return fault
    const principal = principalOf(jwt.payload, options, { digest, token })
    if (!(principal instanceof Deny)) {
      verified.set(digest, { principal, kid: jwt.header['kid'] as string | undefined, alg, key: answer.key })
    }
    return principal
  }

  return ({ credential, now }) => {
    if (!isBearer(credential)) return 'abstain'
    const { token, digest } = credential
    const recalled = recall(digest, now)
    if (recalled) return recalled
    if (credential.claimedIssuer !== options.issuer) return 'abstain'
    const { jwt } = credential
    if (!jwt) return deny('invalid_credential', 'no JWT in the strict form, or over 8 KiB')
    const fault = checkHeader(jwt.header, options)
    if (fault) return fault
    const answer = options.keys.find(jwt.header['kid'] as string | undefined, jwt.header['alg'] as SignatureAlgorithm)
    return answer instanceof Promise
      ? answer.then((late) => withKey(late, token, jwt, digest, now))
      : withKey(answer, token, jwt, digest, now)
  }
}
