import { createHmac, randomBytes } from 'node:crypto'

/** Names a credential in logs, by its digest: the same one alike, and nobody learns it. */
export type Fingerprint = (digest: string) => string

/** A key for fingerprints, base64url. It is kept in memory alone, so that what it named cannot be guessed at later. */
export const newFingerprintKey = (): string => randomBytes(32).toString('base64url')

/**
 * A keyed hash: whoever reads the log cannot try passwords against it, as they could against a plain digest.
 * @param key of {@link newFingerprintKey}; processes that share it give the same credential the same name
 * @returns for a SHA-256 in hexadecimal 16 hexadecimal digits; empty for an empty one
 */
export const createFingerprint = (key: string): Fingerprint => {
  const bytes = Buffer.from(key, 'base64url')
  return (digest) => (digest === '' ? '' : createHmac('sha256', bytes).update(digest).digest('hex').slice(0, 16))
}
