import type { JsonObject } from './json.ts'

/** Grants by the word of the policy file, and by the `grant_type` of the standard. */
export const grantTypes = {
  client_credentials: 'client_credentials',
  token_exchange: 'urn:ietf:params:oauth:grant-type:token-exchange',
  refresh_token: 'refresh_token',
} as const
export type Grant = keyof typeof grantTypes

/** How a client proves who it is (RFC 6749, section 2.3). */
export type ClientAuthentication =
  /** `matches` compares in a time that says nothing. */
  | { readonly kind: 'secret'; readonly matches: (shown: string) => boolean }
  | { readonly kind: 'private_key_jwt'; readonly jwks: () => { readonly keys: readonly JsonObject[] } }
  | { readonly kind: 'mtls'; readonly by: 'san_uri' | 'san_dns' | 'subject_dn'; readonly value: string }
  /** The subject token is the credential: nothing but swapping a token of this federation rule. */
  | { readonly kind: 'federated'; readonly rule: string }

/** What a client may have exchanged. */
export interface ExchangeRights {
  readonly audiences: readonly string[]
  /** Seconds. */
  readonly maxTtl: number
  /** Validators and federation rules; undefined: every validator. */
  readonly subjectsOf: ReadonlySet<string> | undefined
  /** Ceiling; undefined: what the subject token has. */
  readonly scopes: readonly string[] | undefined
  /** Whether a token that was exchanged before may be exchanged again. */
  readonly exchanged: boolean
}

/** A client of our token service: one of the policy file, or an app of the broker. */
export interface Client {
  readonly id: string
  readonly authentication: ClientAuthentication
  readonly grants: readonly Grant[]
  /** Of its own tokens. */
  readonly roles: readonly string[]
  /** Ceiling of its own tokens. */
  readonly scopes: readonly string[]
  /** What its own tokens may be for; the first where it asks for none. */
  readonly audiences: readonly string[]
  /** Seconds. */
  readonly ttl: number
  readonly introspects: boolean
  readonly exchange: ExchangeRights | undefined
}
