import type { Client, Grant } from '../core/issuer-client.ts'
import type { Soon } from '../core/ports.ts'

/** Error codes of the token endpoint (RFC 6749, section 5.2; RFC 8707, section 2; RFC 9449, section 5). */
export type GrantError =
  | 'invalid_request'
  | 'invalid_client'
  | 'invalid_grant'
  | 'unauthorized_client'
  | 'unsupported_grant_type'
  | 'invalid_scope'
  | 'invalid_target'
  | 'invalid_dpop_proof'
  | 'use_dpop_nonce'
  /** State does not answer: 503 (RFC 6749 has no code for it at the token endpoint; the one of its section 4.1.2.1). */
  | 'temporarily_unavailable'

/** What a client asks for at the token endpoint, once it has proved who it is. */
export interface GrantRequest {
  readonly client: Client
  /** Parameters of the grant (RFC 6749, section 4.4.2; RFC 8693, section 2.1), each once but `resource` and `audience`. */
  readonly params: ReadonlyMap<string, string | readonly string[]>
  /** What it shows of its keys, for bound tokens. */
  readonly proof: {
    /** The `DPoP` header. */
    readonly dpop: string | undefined
    /** SHA-256 of the DER of its client certificate, base64url. */
    readonly certificate: string | undefined
    /** The URL of the token endpoint, for `htu`. */
    readonly url: string
  }
  /** Where it asks from; empty on a unix socket. */
  readonly remoteAddress: string
  /** Milliseconds since the epoch. */
  readonly now: number
}

export type GrantAnswer =
  | {
      readonly kind: 'granted'
      /** The members of the answer (RFC 6749, section 5.1; RFC 8693, section 2.2.1). */
      readonly body: Readonly<Record<string, string | number>>
    }
  | {
      readonly kind: 'refused'
      readonly error: GrantError
      /** A sentence for whoever wrote the client; says nothing about anybody else. */
      readonly description: string
      /** `DPoP-Nonce` */
      readonly nonce?: string
    }

export const refused = (error: GrantError, description: string): GrantAnswer => ({ kind: 'refused', error, description })

/** The policy behind the token endpoint, a function for each grant. May reject with Unavailable: then the answer is 503. */
export type Grants = Readonly<Record<Grant, (request: GrantRequest) => Soon<GrantAnswer>>>
