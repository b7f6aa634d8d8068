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

/** Registered confirmation methods that cannot be proved here ("JWT Confirmation Methods" of IANA). */
const unprovable = ['jwk', 'jwe', 'jku', 'kid', 'osc']

/**
 * Reads a `cnf` claim. Members that are no confirmation method are passed over, as RFC 7800, section 3.1, has it: Keycloak writes
 * one of its own beside `jkt`.
 * @returns undefined where it names nothing that can be proved here, or something that cannot
 */
export function readConfirmation(cnf: Json): Confirmation | undefined {
  if (!isJsonObject(cnf)) return undefined
  if (unprovable.some((name) => Object.hasOwn(cnf, name))) return undefined
  const x5tS256 = cnf['x5t#S256']
  const jkt = cnf['jkt']
  if (x5tS256 === undefined && jkt === undefined) return undefined
  return isDigest(x5tS256) && isDigest(jkt) ? { x5tS256, jkt } : undefined
}

const isDigest = (value: Json | undefined): value is string | undefined =>
  value === undefined || (typeof value === 'string' && digest.test(value))
