import { randomBytes } from 'node:crypto'
import { isJsonObject } from '../core/json.ts'
import type { StoredRecord } from '../core/record-store.ts'

/** A revision that no other write has, of whichever replica: 96 random bits, 16 letters, digits, `-` and `_`. */
export const newRevision = (): string => randomBytes(12).toString('base64url')

/**
 * A record put together from what state answered.
 * @returns undefined where another hand wrote what cannot be understood
 */
export function toStoredRecord(id: unknown, value: unknown, until: unknown, revision: unknown): StoredRecord | undefined {
  // A time in a form that says nothing must not mean "for ever".
  if (typeof id !== 'string' || typeof revision !== 'string' || typeof until !== 'number' || !Number.isFinite(until)) return undefined
  return isJsonObject(value) ? { id, value, until, revision } : undefined
}
