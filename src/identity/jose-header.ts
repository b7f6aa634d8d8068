import { isSignatureAlgorithm, type SignatureAlgorithm } from '../core/jws.ts'
import { type Deny, deny } from '../core/reasons.ts'
import type { UnverifiedJwt } from '../core/validator.ts'

/** What the header of an admitted token may say. */
export interface HeaderRules {
  readonly algorithms: readonly SignatureAlgorithm[]
  /** Accepted `typ` (RFC 7515, section 4.1.9), lower case without `application/`; `undefined` among them for tokens without. */
  readonly types: readonly (string | undefined)[]
}

/**
 * What an identity provider's access tokens say they are, unless the policy knows better. A logout token, or any other
 * special kind, is no credential (RFC 8725, section 3.11).
 */
export const accessTokenTypes: HeaderRules['types'] = [undefined, 'jwt', 'at+jwt']

/** Checks a JOSE header, whoever verified the signature: `alg`, `typ`, and that nothing in it asks for an extension. */
export function checkHeader(header: UnverifiedJwt['header'], options: HeaderRules): Deny | undefined {
  const { alg, kid, typ } = header
  if (!isSignatureAlgorithm(alg) || !options.algorithms.includes(alg)) {
    return deny('invalid_credential', `alg is none of ${options.algorithms.join(', ')}`)
  }
  if (Object.hasOwn(header, 'crit')) return deny('invalid_credential', 'the token has a crit header')
  // An unencoded payload (RFC 7797) would be signed over other bytes than those read.
  if (Object.hasOwn(header, 'b64')) return deny('invalid_credential', 'the token has a b64 header')
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) return deny('invalid_credential', 'kid is no text')
  const type = typeof typ === 'string' ? typ.toLowerCase().replace(/^application\//, '') : typ
  if (!options.types.includes(type as string | undefined)) {
    return deny('invalid_credential', `typ is none of ${options.types.map((name) => name ?? '(absent)').join(', ')}`)
  }
  return undefined
}
