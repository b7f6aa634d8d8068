import type { Admin } from '../core/issuer.ts'
import { verifySignature } from '../core/jws.ts'
import { parseJwt } from '../core/jwt.ts'
import { keyAlgorithms } from '../core/ports.ts'
import type { KeyRing } from './key-ring.ts'
import { adminType } from './mint.ts'

export interface AdminTokenOptions {
  readonly issuer: string
  readonly adminAudience: string
  /** The issuer's own key ring. */
  readonly keys: Pick<KeyRing, 'find'>
}

/**
 * Verifies an admin token: our own signature, `typ: postern-admin+jwt` and the admin audience alone, so that no
 * edge or downstream token is ever taken for one. Issuer and verifier are one service, so no skew is allowed on `exp`.
 * @returns a function from a token to the admin it names; undefined for anything else
 */
export function adminTokens(options: AdminTokenOptions): (token: string, now: number) => Admin | undefined {
  return (token, now) => {
    const jwt = parseJwt(token)
    if (!jwt || jwt.header['typ'] !== adminType || Object.hasOwn(jwt.header, 'crit')) return undefined
    const { kid } = jwt.header
    const alg = keyAlgorithms.find((one) => one === jwt.header['alg'])
    if (!alg) return undefined
    // A key of ours is found by its own algorithm alone.
    const found = options.keys.find(typeof kid === 'string' ? kid : undefined, alg)
    if (found.kind !== 'key' || !verifySignature(token, alg, found.key)) return undefined
    const { iss, aud, sub, exp, iat, jti, scope } = jwt.payload
    if (iss !== options.issuer || aud !== options.adminAudience || typeof sub !== 'string' || sub === '') return undefined
    if (typeof exp !== 'number' || exp <= now / 1000 || typeof iat !== 'number' || typeof jti !== 'string') return undefined
    return { subject: sub, scopes: typeof scope === 'string' ? scope.split(' ') : [], tokenId: jti, issuedAt: iat, expiresAt: exp }
  }
}
