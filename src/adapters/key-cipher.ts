import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import { encryptionKeyBytes } from '../core/encryption-key.ts'
import type { KeyStore, StoredKey } from '../core/ports.ts'

/** Private keys cannot be read with the configured key: the start is to be refused with this sentence. */
export class KeyCipherError extends Error {
  override readonly name = 'KeyCipherError'
}

/** Encrypts private keys at rest. */
export interface KeyCipher {
  /** @returns text that is safe at rest */
  readonly seal: (kid: string, pem: string) => string
  /** @throws {KeyCipherError} */
  readonly open: (kid: string, sealed: string) => string
}

const form = 'a256gcm'
const nonceBytes = 12
const tagBytes = 16

/**
 * Reads `issuer.keys.encryption_key`.
 * @param text 32 bytes in hexadecimal, base64 or base64url
 * @throws {KeyCipherError} a sentence that does not hold the key
 */
export function readEncryptionKey(text: string): Buffer {
  const bytes = encryptionKeyBytes(text.trim())
  if (bytes) return bytes
  throw new KeyCipherError('issuer.keys.encryption_key: expected 32 bytes as 64 hexadecimal digits or as base64 (openssl rand -base64 32)')
}

/**
 * AES-256-GCM with a fresh nonce for each sealing; the kid is bound in as additional data, so that one stored
 * key cannot be put in another's place.
 */
export function keyCipher(secret: Buffer): KeyCipher {
  return {
    seal: (kid, pem) => {
      const nonce = randomBytes(nonceBytes)
      const cipher = createCipheriv('aes-256-gcm', secret, nonce, { authTagLength: tagBytes }).setAAD(Buffer.from(kid))
      const sealed = Buffer.concat([cipher.update(pem, 'utf8'), cipher.final()])
      return `${form}:${Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url')}`
    },
    open: (kid, sealed) => {
      const [name, text, ...more] = sealed.split(':')
      const bytes = Buffer.from(text ?? '', 'base64url')
      if (name !== form || more.length > 0 || bytes.length <= nonceBytes + tagBytes) {
        throw new KeyCipherError(
          `the stored signing key ${kid} is not encrypted in a known form: expected ${form}; was it written without issuer.keys.encryption_key?`,
        )
      }
      const decipher = createDecipheriv('aes-256-gcm', secret, bytes.subarray(0, nonceBytes), { authTagLength: tagBytes })
        .setAAD(Buffer.from(kid))
        .setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes))
      try {
        return decipher.update(bytes.subarray(nonceBytes + tagBytes), undefined, 'utf8') + decipher.final('utf8')
      } catch (cause) {
        const advice = 'expected the issuer.keys.encryption_key that it was written with'
        throw new KeyCipherError(`the stored signing key ${kid} cannot be decrypted: ${advice}`, { cause })
      }
    },
  }
}

/** A key store whose private keys are encrypted at rest: what a driver keeps is only what the cipher made. */
export const encryptedKeyStore = (store: KeyStore, cipher: KeyCipher): KeyStore => ({
  list: async () => (await store.list()).map((key) => ({ ...key, privateKey: cipher.open(key.kid, key.privateKey) })),
  replace: (seen, next) =>
    store.replace(
      seen,
      next.map((key): StoredKey => ({ ...key, privateKey: cipher.seal(key.kid, key.privateKey) })),
    ),
})
