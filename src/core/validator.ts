import type { JsonObject } from './json.ts'
import type { Soon } from './ports.ts'
import type { Principal, Workload } from './principal.ts'
import type { Deny } from './reasons.ts'
import type { Request } from './request.ts'

/** The one presented credential that validators compete for. */
export interface Credential {
  /** The `Authorization` value as sent; undefined where only payloads verified by Envoy were presented. */
  readonly authorization: string | undefined
  /** Scheme in lower case (RFC 9110, section 11.1), empty where the value has none. */
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
  /** It goes by what Envoy verified, and compares that with the credential itself. */
  readonly trustsEnvoy?: true
  readonly identify: (presentation: Presentation) => Soon<Verdict>
}

/** Identifies by the client certificate, only where no credential was presented. */
export interface CertificateValidator extends NamedValidator {
  readonly presents: 'certificate'
  readonly identify: (workload: Workload, now: number) => Verdict
}

export type Validator = BearerValidator | CertificateValidator
