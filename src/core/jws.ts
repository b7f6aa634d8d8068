import { constants, type KeyObject, verify } from 'node:crypto'
import { decodeBase64url } from './jwt.ts'

/** Asymmetric signature algorithms (RFC 7518, section 3.1; RFC 8037; RFC 9864). Nothing else is ever verified: no `none`, no HMAC. */
export const signatureAlgorithms = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
] as const
export type SignatureAlgorithm = (typeof signatureAlgorithms)[number]

/** Whether an `alg` is one that may ever be verified. */
export const isSignatureAlgorithm = (name: unknown): name is SignatureAlgorithm =>
  (signatureAlgorithms as readonly unknown[]).includes(name)

const curves: { readonly [alg: string]: string } = { ES256: 'prime256v1', ES384: 'secp384r1', ES512: 'secp521r1' }
// r and s side by side, each as long as the curve's order (RFC 7518, section 3.4): a DER signature is none.
const ecdsaBytes: { readonly [alg: string]: number } = { ES256: 64, ES384: 96, ES512: 132 }

/** Whether a public key is of the kind that the algorithm wants: type, curve, and at least 2048 bits of RSA (RFC 7518, section 3.3). */
export function suits(key: KeyObject, alg: SignatureAlgorithm): boolean {
  if (key.type !== 'public') return false
  const details = key.asymmetricKeyDetails
  if (alg.startsWith('RS') || alg.startsWith('PS')) return key.asymmetricKeyType === 'rsa' && (details?.modulusLength ?? 0) >= 2048
  if (alg.startsWith('ES')) return key.asymmetricKeyType === 'ec' && details?.namedCurve === curves[alg]
  return key.asymmetricKeyType === 'ed25519'
}

/**
 * Verifies the signature of a JWT in compact serialization, at once: with the keys in memory a check need
 * not wait for a thread (20–75 µs, which is less than handing it over costs).
 * @param token one that `parseJwt` took apart
 */
export function verifySignature(token: string, alg: SignatureAlgorithm, key: KeyObject): boolean {
  if (!suits(key, alg)) return false
  const dot = token.lastIndexOf('.')
  const signature = decodeBase64url(token.slice(dot + 1))
  if (signature === undefined) return false
  const data = Buffer.from(token.slice(0, dot), 'latin1')
  if (alg === 'EdDSA' || alg === 'Ed25519') return verify(null, data, key, signature)
  const hash = `sha${alg.slice(2)}`
  if (alg.startsWith('ES')) return signature.length === ecdsaBytes[alg] && verify(hash, data, { key, dsaEncoding: 'ieee-p1363' }, signature)
  if (alg.startsWith('RS')) return verify(hash, data, { key, padding: constants.RSA_PKCS1_PADDING }, signature)
  const saltLength = constants.RSA_PSS_SALTLEN_DIGEST
  return verify(hash, data, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength }, signature)
}
