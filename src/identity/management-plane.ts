import { LRUCache } from 'lru-cache'
import { isBearer } from '../core/credential.ts'
import { readJsonObject } from '../core/json.ts'
import { verifySignature } from '../core/jws.ts'
import { clockSkew } from '../core/jwt.ts'
import { managementPlane, maxPageLife, operatorNamespace, pageAlgorithm, pageAudience, pageType } from '../core/management-plane.ts'
import type { Soon } from '../core/ports.ts'
import { type Deny, deny } from '../core/reasons.ts'
import type { BearerValidator, Credential, UnverifiedJwt, Verdict } from '../core/validator.ts'
import type { KeyAnswer, VerificationKeys } from '../core/verification-keys.ts'
import { type ClaimNames, type ClaimRules, principalOf } from './claims.ts'
import { checkHeader } from './jose-header.ts'

/** Settings of the validator of page tokens. */
export interface ManagementPlaneOptions {
  /** Our own `iss`. */
  readonly issuer: string
  /** The ring of page keys, and of no others. */
  readonly keys: VerificationKeys
}

const names: ClaimNames = { subject: 'sub', roles: 'roles', role: undefined, scopes: 'scope', endUser: undefined }

/** Headers of tokens that are known by sight: those of one key are all alike. */
const mostHeaders = 1000
const longestHeader = 512

/**
 * Admits the short tokens that are minted for the operator page: our own RS256 signature, `typ: postern-page+jwt` and the
 * page audience, which no other token of ours has. Whatever is no page token of our issuer is none of its business. It
 * ends at its `exp` to the second: whoever mints it and whoever checks it are one service.
 */
export function pageTokens(options: ManagementPlaneOptions): BearerValidator {
  const rules: ClaimRules = {
    validator: managementPlane,
    issuer: options.issuer,
    audiences: [pageAudience],
    names,
    namespace: operatorNamespace,
    mayAssert: undefined,
  }
  const seen = new LRUCache<string, boolean>({ max: mostHeaders })

  /** Looked at before anything is taken apart: it stands first in the chain, and nearly all tokens are others'. */
  const saysPage = (token: string): boolean => {
    const dot = token.indexOf('.')
    if (dot < 1 || dot > longestHeader) return false
    const header = token.slice(0, dot)
    let page = seen.get(header)
    if (page === undefined) {
      page = readJsonObject(Buffer.from(header, 'base64url').toString())?.['typ'] === pageType
      seen.set(header, page)
    }
    return page
  }

  const withKey = (answer: KeyAnswer, credential: Credential, jwt: UnverifiedJwt, now: number): Verdict => {
    if (answer.kind === 'unavailable') return deny('identity_unavailable', answer.detail)
    if (answer.kind === 'unknown') return deny('invalid_credential', 'no page key has this kid')
    if (!verifySignature(credential.token, pageAlgorithm, answer.key)) return deny('invalid_credential', 'the signature does not verify')
    const fault = checkClaims(jwt, now)
    // The token itself goes nowhere: no token endpoint has anything to do with it.
    return fault ?? principalOf(jwt.payload, rules, { digest: credential.digest, token: undefined })
  }

  return {
    name: managementPlane,
    subjects: operatorNamespace,
    presents: 'bearer',
    identify: ({ credential, now }): Soon<Verdict> => {
      if (!isBearer(credential) || !saysPage(credential.token) || credential.claimedIssuer !== options.issuer) return 'abstain'
      const { jwt } = credential
      if (!jwt) return deny('invalid_credential', 'no JWT in the strict form, or over 8 KiB')
      const fault = checkHeader(jwt.header, { algorithms: [pageAlgorithm], types: [pageType] })
      if (fault) return fault
      const answer = options.keys.find(jwt.header['kid'] as string | undefined, pageAlgorithm)
      return answer instanceof Promise ? answer.then((late) => withKey(late, credential, jwt, now)) : withKey(answer, credential, jwt, now)
    },
  }
}

/** The page audience alone, a life of at most 60 s, and no skew at its end. */
function checkClaims({ payload }: UnverifiedJwt, now: number): Deny | undefined {
  const { aud, iat, exp } = payload
  if (aud !== pageAudience) return deny('invalid_credential', `aud is not ${pageAudience}`)
  if (!Number.isFinite(exp) || !Number.isFinite(iat)) return deny('invalid_credential', 'exp or iat is missing or no number')
  const issuedAt = iat as number
  const expiresAt = exp as number
  if (expiresAt - issuedAt > maxPageLife) return deny('invalid_credential', `it lives for more than ${maxPageLife} s`)
  if (issuedAt - clockSkew > now / 1000) return deny('invalid_credential', 'issued in the future (iat)')
  return expiresAt <= now / 1000 ? deny('expired_credential', `expired at ${expiresAt}`) : undefined
}
