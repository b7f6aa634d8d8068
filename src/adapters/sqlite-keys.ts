import { keyAlgorithms, type StoredKey, Unavailable } from '../core/ports.ts'

/** A row of the table `keys`. @throws {Unavailable} where it is of an algorithm that this version does not know */
export function storedKey(row: Record<string, unknown>): StoredKey {
  const algorithm = keyAlgorithms.find((one) => one === row['algorithm'])
  // To go on without it would be to sign with another key, or to publish fewer than others still use.
  if (!algorithm) throw new Unavailable('a signing key in the state file cannot be understood')
  return {
    kid: String(row['kid']),
    algorithm,
    createdAt: Number(row['created_at']),
    activeAt: Number(row['active_at']),
    ...(row['retired_at'] === null ? {} : { retiredAt: Number(row['retired_at']) }),
    ...(row['keep_for'] === null ? {} : { keepFor: Number(row['keep_for']) }),
    privateKey: String(row['private_key']),
  }
}
