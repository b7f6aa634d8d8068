import { createPrivateKey, createPublicKey, generateKeyPair, generateKeyPairSync, hash, type KeyObject, sign } from 'node:crypto'
import { promisify } from 'node:util'
import type { JsonObject } from '../core/json.ts'
import { suits } from '../core/jws.ts'
import { type KeyAlgorithm, keyAlgorithms, type StoredKey } from '../core/ports.ts'
import type { MakeKey } from './rotation.ts'

/** A public key as the JWKS shows it (RFC 7517, section 4; RFC 7518, sections 6.2 and 6.3; RFC 8037, section 2). */
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
  | { readonly kty: 'OKP'; readonly crv: 'Ed25519'; readonly x: string; readonly kid: string; readonly alg: 'EdDSA'; readonly use: 'sig' }
  | { readonly kty: 'RSA'; readonly e: string; readonly n: string; readonly kid: string; readonly alg: 'RS256'; readonly use: 'sig' }

/** A signing key in memory. */
export interface LoadedKey {
  readonly stored: StoredKey
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
  readonly published: PublishedKey
  /** SubjectPublicKeyInfo in PEM (RFC 7468, section 13). */
  readonly pem: string
}

/** A stored key is no private key of its algorithm in PKCS #8 PEM: the start is to be refused with this sentence. */
export class UnreadableKey extends Error {
  override readonly name = 'UnreadableKey'
}

/** A JWS in compact serialization (RFC 7515, section 7.1). */
export function signCompact({ stored, privateKey }: LoadedKey, payload: JsonObject, typ: string): string {
  const encode = (part: JsonObject): string => Buffer.from(JSON.stringify(part)).toString('base64url')
  const input = `${encode({ alg: stored.algorithm, typ, kid: stored.kid })}.${encode(payload)}`
  // 20 µs at once (RS256: under 1 ms); a thread's answer would cost more than it spares.
  const hashing = stored.algorithm === 'EdDSA' ? null : 'sha256'
  const signature = sign(hashing, Buffer.from(input, 'latin1'), { key: privateKey, dsaEncoding: 'ieee-p1363' })
  return `${input}.${signature.toString('base64url')}`
}

/** A new ES256 key. @param createdAt and activeAt in seconds since the epoch */
export const createKey = (createdAt: number, activeAt: number): StoredKey =>
  storedKey('', 'ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, createdAt, activeAt)

/**
 * How keys of an algorithm are made: RS256 on another thread, since that takes some 100 ms.
 * @param prefix of their kids
 */
export const keyMaker =
  (algorithm: KeyAlgorithm, prefix = ''): MakeKey =>
  (createdAt, activeAt) => {
    const stored = (key: KeyObject): StoredKey => storedKey(prefix, algorithm, key, createdAt, activeAt)
    switch (algorithm) {
      case 'ES256':
        return stored(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)
      case 'EdDSA':
        return stored(generateKeyPairSync('ed25519').privateKey)
      case 'RS256':
        return makePair('rsa', { modulusLength: 2048 }).then(({ privateKey }) => stored(privateKey))
    }
  }

function storedKey(prefix: string, algorithm: KeyAlgorithm, key: KeyObject, createdAt: number, activeAt: number): StoredKey {
  const privateKey = key.export({ type: 'pkcs8', format: 'pem' }) as string
  return { kid: prefix + publish(createPublicKey(key)).kid, algorithm, createdAt, activeAt, privateKey }
}

const makePair = promisify(generateKeyPair)

/**
 * What the kids of keys begin with that sign for those who want another algorithm than all others; '' of keys that sign for
 * all others. A thumbprint alone holds no colon.
 */
export const extraPrefix = (algorithm: KeyAlgorithm): string => `${algorithm.toLowerCase()}:`
const extraPrefixes = keyAlgorithms.map(extraPrefix)
/** The prefix that a kid has. */
export const prefixOf = (kid: string): string => extraPrefixes.find((prefix) => kid.startsWith(prefix)) ?? ''

/** What the kid of every page key begins with, and of no other: a thumbprint alone holds no colon. */
const pageKids = 'page:'

/** Whether it signs page tokens, and nothing else. */
export const isPageKey = ({ kid }: Pick<StoredKey, 'kid'>): boolean => kid.startsWith(pageKids)

/** A new RS256 key for page tokens. */
export const createPageKey = keyMaker('RS256', pageKids)

/**
 * Makes a stored key ready to sign and verify.
 * @param known the same key as loaded before, whose key objects are kept
 * @throws {UnreadableKey}
 */
export function load(stored: StoredKey, known: LoadedKey | undefined): LoadedKey {
  if (known) return { ...known, stored }
  const privateKey = readPrivateKey(stored)
  const publicKey = createPublicKey(privateKey)
  const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
  return { stored, privateKey, publicKey, published: { ...publish(publicKey), kid: stored.kid }, pem }
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
  if (key.asymmetricKeyType === 'ed25519') {
    const { x } = key.export({ format: 'jwk' }) as { readonly x: string }
    const kid = hash('sha256', JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x }), 'base64url')
    return { kty: 'OKP', crv: 'Ed25519', x, kid, alg: 'EdDSA', use: 'sig' }
  }
  const { x, y } = key.export({ format: 'jwk' }) as { readonly x: string; readonly y: string }
  const kid = hash('sha256', JSON.stringify({ crv: 'P-256', kty: 'EC', x, y }), 'base64url')
  return { kty: 'EC', crv: 'P-256', x, y, kid, alg: 'ES256', use: 'sig' }
}
