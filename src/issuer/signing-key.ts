import { createPrivateKey, createPublicKey, generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import type { JsonObject } from '../core/json.ts'
import type { StoredKey } from '../core/ports.ts'

/** A public key as the JWKS shows it (RFC 7517, section 4). */
export interface PublishedKey {
  readonly kty: 'EC'
  readonly crv: 'P-256'
  readonly x: string
  readonly y: string
  readonly kid: string
  readonly alg: 'ES256'
  readonly use: 'sig'
}

/** A signing key in memory. */
export interface LoadedKey {
  readonly stored: StoredKey
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly published: PublishedKey
}

/** A stored key is no ES256 private key in PKCS #8 PEM: the start is to be refused with this sentence. */
export class UnreadableKey extends Error {
  override readonly name = 'UnreadableKey'
}

/** A JWS in compact serialization (RFC 7515, section 7.1). */
export function signCompact({ stored, privateKey }: LoadedKey, payload: JsonObject, typ: string): string {
  const encode = (part: JsonObject): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const input = `${encode({ alg: 'ES256', typ, kid: stored.kid })}.${encode(payload)}`
  // 20 µs at once; a thread's answer would cost more than it spares.
  const signature = sign('sha256', Buffer.from(input, 'latin1'), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

/** A new ES256 key. @param createdAt and activeAt in seconds since the epoch */
export function createKey(createdAt: number, activeAt: number): StoredKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  return { kid: publish(createPublicKey(privateKey)).kid, algorithm: 'ES256', createdAt, activeAt, privateKey: pem }
}

/**
 * Makes a stored key ready to sign and verify.
 * @param known the same key as loaded before, whose key objects are kept
 * @throws {UnreadableKey}
 */
export function load(stored: StoredKey, known: LoadedKey | undefined): LoadedKey {
  if (known) return { ...known, stored }
  const privateKey = readPrivateKey(stored)
  const publicKey = createPublicKey(privateKey)
  return { stored, privateKey, publicKey, published: publish(publicKey) }
}

function readPrivateKey(stored: StoredKey): KeyObject {
  const expected = 'expected an ES256 private key in PKCS #8 PEM; is it encrypted, and issuer.keys.encryption_key missing?'
  try {
    const key = createPrivateKey(stored.privateKey)
    if (key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return key
  } catch (cause) {
    throw new UnreadableKey(`the stored signing key ${stored.kid} cannot be read: ${expected}`, { cause })
  }
  throw new UnreadableKey(`the stored signing key ${stored.kid} cannot be read: ${expected}`)
}

/** The kid is the key's thumbprint (RFC 7638, section 3): SHA-256 over the required members in this order. */
function publish(key: KeyObject): PublishedKey {
  const { x, y } = key.export({ format: 'jwk' }) as { readonly x: string; readonly y: string }
  const kid = hash('sha256', JSON.stringify({ crv: 'P-256', kty: 'EC', x, y }), 'base64url')
  return { kty: 'EC', crv: 'P-256', x, y, kid, alg: 'ES256', use: 'sig' }
}
