import { createPublicKey, type KeyObject, type webcrypto } from 'node:crypto'
import { isJsonObject, type JsonObject, readJsonObject } from '../core/json.ts'
import { isSignatureAlgorithm, type SignatureAlgorithm, suits } from '../core/jws.ts'

/** One usable key of a key set. */
export interface PublicJwk {
  readonly kid: string | undefined
  /** The only algorithm it is for, where the set says so. */
  readonly alg: SignatureAlgorithm | undefined
  readonly key: KeyObject
}

/** A set may not grow without bound, nor make every look-up slow. */
const maxKeys = 100
/** To import a key takes tens of microseconds, during which nothing else is answered. */
const maxLookedAt = 1000

/**
 * Reads a JWK Set (RFC 7517, section 5). As that section says, what cannot be used is passed over: symmetric
 * keys, keys for encryption, of unknown types, too short, or for an algorithm off the list.
 * @param keyUse a `use` (section 4.2) that stands for signatures too, as `jwt-svid` does in a SPIFFE bundle
 * @returns at most 100 keys, of the first 1000, or undefined where `body` is no key set
 */
export function readJwks(body: string, algorithms: readonly SignatureAlgorithm[], keyUse = 'sig'): PublicJwk[] | undefined {
  const set = readJsonObject(body)
  const listed = set?.['keys']
  if (!Array.isArray(listed)) return undefined
  const keys: PublicJwk[] = []
  for (const jwk of listed.slice(0, maxLookedAt)) {
    if (keys.length === maxKeys) break
    const key = isJsonObject(jwk) ? readJwk(jwk, algorithms, keyUse) : undefined
    if (key) keys.push(key)
  }
  return keys
}

function readJwk(jwk: JsonObject, algorithms: readonly SignatureAlgorithm[], keyUse: string): PublicJwk | undefined {
  const { kty, use, kid, alg, key_ops: operations } = jwk
  if (kty !== 'RSA' && kty !== 'EC' && kty !== 'OKP') return undefined
  if (use !== undefined && use !== 'sig' && use !== keyUse) return undefined
  if (Array.isArray(operations) && !operations.includes('verify')) return undefined
  if (kid !== undefined && (typeof kid !== 'string' || kid === '')) return undefined
  if (alg !== undefined && !(isSignatureAlgorithm(alg) && algorithms.includes(alg))) return undefined
  try {
    // Only the public members, should an issuer publish more than it means to.
    const { n, e, crv, x, y } = jwk
    const key = createPublicKey({ key: { kty, n, e, crv, x, y } as webcrypto.JsonWebKey, format: 'jwk' })
    const fits = alg === undefined ? algorithms.some((name) => suits(key, name)) : suits(key, alg)
    return fits ? { kid: kid as string | undefined, alg, key } : undefined
  } catch {
    return undefined
  }
}
