import { isJsonObject } from '../core/json.ts'
import { keyAlgorithms, type StoredKey } from '../core/ports.ts'

const algorithms: ReadonlySet<unknown> = new Set(keyAlgorithms)
const whole = (value: unknown): boolean => value === undefined || Number.isSafeInteger(value)

/** A signing key as JSON keeps it; undefined where it is none that this version understands. */
export function readStoredKey(value: unknown): StoredKey | undefined {
  if (!isJsonObject(value)) return undefined
  const { kid, privateKey, algorithm, createdAt, activeAt, retiredAt, keepFor } = value
  const ok =
    typeof kid === 'string' &&
    typeof privateKey === 'string' &&
    algorithms.has(algorithm) &&
    Number.isSafeInteger(createdAt) &&
    Number.isSafeInteger(activeAt) &&
    whole(retiredAt) &&
    whole(keepFor)
  return ok ? (value as unknown as StoredKey) : undefined
}
