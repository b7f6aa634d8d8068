import type { JsonObject } from './json.ts'
import type { Soon } from './ports.ts'
import type { Principal, Workload } from './principal.ts'
import type { Deny } from './reasons.ts'
import type { Request } from './request.ts'

/** The one presented credential that validators compete for. */
export interface Credential {
  /** The `Authorization` value as sent; undefined where the credential stands elsewhere. */
  readonly authorization: string | undefined
  /** Where it stands, as validators name it (`authorization`, `header:x-api-key`, …); empty where only payloads verified by Envoy were presented. */
  readonly places: readonly string[]
  /** Scheme in lower case (RFC 9110, section 11.1), empty where the value has none; `bearer` for what stands elsewhere. */
  readonly scheme: string
  /** What follows the scheme and one space, untouched. */
  readonly token: string
  /** SHA-256 of the token, hexadecimal: names it in caches without keeping it. */
  readonly digest: string
  /** The token's parts, where it has the form of a JWT in compact serialization; parsed once, unverified. */
  readonly jwt: UnverifiedJwt | undefined
  /** Whose token it says it is, also where it is no JWT in the strict form: such a token is that issuer's bad one. */
  readonly claimedIssuer: string | undefined
}

/** A JWT's parts before anything is verified: fit to choose a validator by, and for nothing else. */
export interface UnverifiedJwt {
  readonly header: { readonly [name: string]: unknown }
  readonly payload: JsonObject
}

/** What is presented to a validator. */
export interface Presentation {
  readonly request: Request
  readonly credential: Credential
  /** What Envoy's jwt_authn verified, under any key that a validator names; undefined where it verified nothing. */
  readonly verified: JsonObject | undefined
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** abstain: not mine. A {@link Deny} rejects: it does not stop the chain, and the first one is the reason given. */
export type Verdict = 'abstain' | Principal | Deny

/** What the identify stage knows of each validator. */
interface NamedValidator {
  readonly name: string
  /** What all subjects that it gives begin with; empty or undefined where they may be anything. */
  readonly subjects?: string
}

/** Competes for the presented credential. */
export interface BearerValidator extends NamedValidator {
  readonly presents: 'bearer'
  /** Where it looks for credentials; absent: in `Authorization` alone. What stands elsewhere is not shown to it. */
  readonly from?: ReadonlySet<string>
  /** It goes by what Envoy verified, and compares that with the credential itself. */
  readonly trustsEnvoy?: true
  readonly identify: (presentation: Presentation) => Soon<Verdict>
}

/** Identifies by the client certificate, only where no credential was presented. */
export interface CertificateValidator extends NamedValidator {
  readonly presents: 'certificate'
  readonly identify: (workload: Workload, now: number) => Verdict
}

/** Identifies by the headers of an edge in front, only where no credential was presented. */
export interface EdgeValidator extends NamedValidator {
  readonly presents: 'edge'
  readonly identify: (request: Request, workload: Workload | undefined, now: number) => Verdict
}

/** What `Authorization: Basic` (RFC 7617) held for the validators before it. */
export interface Unwrapped {
  /** Its password: a credential as if it had been presented as a bearer token. */
  readonly token: string
  /** The only validator that may judge it, where the user name is a validator's. */
  readonly only: string | undefined
}

/** Hands the password on to the validators above it. */
export interface BasicValidator extends NamedValidator {
  readonly presents: 'basic'
  /** @param validators names of those above it that the route admits */
  readonly unwrap: (credential: Credential, validators: ReadonlySet<string>) => Unwrapped | Deny
}

export type Validator = BearerValidator | CertificateValidator | EdgeValidator | BasicValidator
