import { createPrivateKey, createPublicKey, generateKeyPair, generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import { promisify } from 'node:util'
import type { JsonObject } from '../core/json.ts'
import { suits } from '../core/jws.ts'
import type { StoredKey } from '../core/ports.ts'

/** A public key as the JWKS shows it (RFC 7517, section 4; RFC 7518, sections 6.2 and 6.3). */
export type PublishedKey =
  | {
      readonly kty: 'EC'
      readonly crv: 'P-256'
      readonly x: string
      readonly y: string
      readonly kid: string
      readonly alg: 'ES256'
      readonly use: 'sig'
    }
  | { readonly kty: 'RSA'; readonly e: string; readonly n: string; readonly kid: string; readonly alg: 'RS256'; readonly use: 'sig' }

/** A signing key in memory. */
export interface LoadedKey {
  readonly stored: StoredKey
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly published: PublishedKey
}

/** A stored key is no private key of its algorithm in PKCS #8 PEM: the start is to be refused with this sentence. */
export class UnreadableKey extends Error {
  override readonly name = 'UnreadableKey'
}

/** A JWS in compact serialization (RFC 7515, section 7.1). */
export function signCompact({ stored, privateKey }: LoadedKey, payload: JsonObject, typ: string): string {
  const encode = (part: JsonObject): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const input = `${encode({ alg: stored.algorithm, typ, kid: stored.kid })}.${encode(payload)}`
  // 20 µs at once (RS256: under 1 ms, for operators alone); a thread's answer would cost more than it spares.
  const signature = sign('sha256', Buffer.from(input, 'latin1'), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

/** A new ES256 key. @param createdAt and activeAt in seconds since the epoch */
export function createKey(createdAt: number, activeAt: number): StoredKey {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  return { kid: publish(createPublicKey(privateKey)).kid, algorithm: 'ES256', createdAt, activeAt, privateKey: pem }
}

const makePair = promisify(generateKeyPair)

/** What the kid of every page key begins with, and of no other: a thumbprint alone holds no colon. */
const pageKids = 'page:'

/** Whether it signs page tokens, and nothing else. */
export const isPageKey = ({ kid }: Pick<StoredKey, 'kid'>): boolean => kid.startsWith(pageKids)

/** A new RS256 key for page tokens, made on another thread: that takes some 100 ms. */
export async function createPageKey(createdAt: number, activeAt: number): Promise<StoredKey> {
  const { privateKey, publicKey } = await makePair('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
  return { kid: pageKids + publish(publicKey).kid, algorithm: 'RS256', createdAt, activeAt, privateKey: pem }
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
  const expected = `expected an ${stored.algorithm} private key in PKCS #8 PEM; is it encrypted, and issuer.keys.encryption_key missing?`
  try {
    const key = createPrivateKey(stored.privateKey)
    if (suits(createPublicKey(key), stored.algorithm)) return key
  } catch (cause) {
    throw new UnreadableKey(`the stored signing key ${stored.kid} cannot be read: ${expected}`, { cause })
  }
  throw new UnreadableKey(`the stored signing key ${stored.kid} cannot be read: ${expected}`)
}

/** The kid is the key's thumbprint (RFC 7638, section 3): SHA-256 over the required members in this order. */
function publish(key: KeyObject): PublishedKey {
  if (key.asymmetricKeyType === 'rsa') {
    const { e, n } = key.export({ format: 'jwk' }) as { readonly e: string; readonly n: string }
    return { kty: 'RSA', e, n, kid: hash('sha256', JSON.stringify({ e, kty: 'RSA', n }), 'base64url'), alg: 'RS256', use: 'sig' }
  }
  const { x, y } = key.export({ format: 'jwk' }) as { readonly x: string; readonly y: string }
  const kid = hash('sha256', JSON.stringify({ crv: 'P-256', kty: 'EC', x, y }), 'base64url')
  return { kty: 'EC', crv: 'P-256', x, y, kid, alg: 'ES256', use: 'sig' }
}
