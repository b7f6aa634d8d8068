import type { Prove } from '../core/proof.ts'
import { deny } from '../core/reasons.ts'

/** Proof of possession (RFC 8705, RFC 9449). */
export function createProof(): Prove {
  return () => deny('invalid_credential', 'the token is bound to a key, and possession of it cannot be proved here')
}
