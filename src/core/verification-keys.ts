import type { KeyObject } from 'node:crypto'
import type { SignatureAlgorithm } from './jws.ts'
import type { Soon } from './ports.ts'

/** What a look-up of a verification key can come to. */
export type KeyAnswer =
  | { readonly kind: 'key'; readonly key: KeyObject }
  /** The issuer's keys are known, and this is none of them. */
  | { readonly kind: 'unknown' }
  /** The issuer's keys cannot be had, and none in memory may be used. */
  | { readonly kind: 'unavailable'; readonly detail: string }

/** Public keys of an issuer; synchronous where the key is in memory. */
export interface VerificationKeys {
  /** @param kid undefined where the token names none: then only a single key that suits is the answer */
  readonly find: (kid: string | undefined, alg: SignatureAlgorithm) => Soon<KeyAnswer>
}
