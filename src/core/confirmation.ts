import { isJsonObject, type Json } from './json.ts'

/** What a token is bound to (RFC 7800, section 3.1): all of it has to be proved. */
export interface Confirmation {
  /** `x5t#S256` (RFC 8705, section 3.1): base64url of the SHA-256 of the client certificate's DER. */
  readonly x5tS256: string | undefined
  /** `jkt` (RFC 9449, section 6.1): base64url of the SHA-256 thumbprint of the DPoP key. */
  readonly jkt: string | undefined
}

/** SHA-256 in base64url without padding. */
const digest = /^[A-Za-z0-9_-]{43}$/

/** Reads a `cnf` claim. @returns undefined where it holds anything that cannot be proved here */
export function readConfirmation(cnf: Json): Confirmation | undefined {
  if (!isJsonObject(cnf)) return undefined
  const names = Object.keys(cnf)
  if (names.length === 0 || names.some((name) => name !== 'x5t#S256' && name !== 'jkt')) return undefined
  for (const name of names) if (typeof cnf[name] !== 'string' || !digest.test(cnf[name])) return undefined
  return { x5tS256: cnf['x5t#S256'] as string | undefined, jkt: cnf['jkt'] as string | undefined }
}
