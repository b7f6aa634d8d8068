import { readActor } from '../core/actor.ts'
import { readConfirmation } from '../core/confirmation.ts'
import type { OwnToken } from '../core/issuer.ts'
import type { Json } from '../core/json.ts'
import { isSignatureAlgorithm, verifySignature } from '../core/jws.ts'
import { parseJwt } from '../core/jwt.ts'
import type { KeyRing } from './key-ring.ts'

export interface OwnTokensOptions {
  readonly issuer: string
  /** The issuer's own key ring. */
  readonly keys: Pick<KeyRing, 'find'>
}

const text = (value: Json | undefined): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
const texts = (value: Json | undefined): readonly string[] =>
  Array.isArray(value) ? value.filter((one): one is string => typeof one === 'string') : typeof value === 'string' ? [value] : []

/**
 * Verifies tokens of our own, of whatever kind: the caller looks at `typ` and audience, and asks whether it was revoked. Issuer
 * and verifier are one service, so no skew is allowed on `exp`.
 * @returns a function from a token and milliseconds since the epoch to what it says; undefined for anything else
 */
export function ownTokens({ issuer, keys }: OwnTokensOptions): (token: string, now: number) => OwnToken | undefined {
  return (token, now) => {
    const jwt = parseJwt(token)
    if (!jwt || Object.hasOwn(jwt.header, 'crit') || Object.hasOwn(jwt.header, 'b64')) return undefined
    const { kid, alg, typ } = jwt.header
    if (typeof kid !== 'string' || typeof typ !== 'string' || !isSignatureAlgorithm(alg)) return undefined
    const found = keys.find(kid, alg)
    if (found.kind !== 'key' || !verifySignature(token, alg, found.key)) return undefined
    const { iss, aud, sub, exp, iat, jti, act, cnf, scope } = jwt.payload
    if (iss !== issuer || typeof sub !== 'string' || sub === '' || typeof jti !== 'string' || jti === '') return undefined
    if (typeof exp !== 'number' || exp <= now / 1000 || typeof iat !== 'number') return undefined
    const actor = act === undefined ? undefined : readActor(act)
    const confirmation = cnf === undefined ? undefined : readConfirmation(cnf)
    if (actor === 'unreadable' || (cnf !== undefined && !confirmation)) return undefined
    return {
      typ,
      claims: jwt.payload,
      subject: sub,
      audience: texts(aud),
      id: jti,
      client: text(jwt.payload['client_id']),
      scopes: typeof scope === 'string' ? scope.split(' ').filter((one) => one !== '') : [],
      roles: texts(jwt.payload['roles']),
      actor,
      task: text(jwt.payload['task_id']),
      orchestration: text(jwt.payload['orch_id']),
      confirmation,
      issuedAt: iat,
      expiresAt: exp,
    }
  }
}
