import type { JsonObject } from './json.ts'

/**
 * One CheckRequest, as far as anything reads it (envoy.service.auth.v3.AttributeContext). Look-ups are
 * functions so that a decoder may find them lazily in the message.
 */
export interface Request {
  /** `request.http.method`, as sent. */
  readonly method: string
  /** `request.http.host`: `:authority` or `Host`, as sent. */
  readonly host: string
  /** `request.http.path`: raw, with the query. */
  readonly path: string
  /** `request.http.scheme`, or empty. */
  readonly scheme: string
  /** A header by its lower-case name; several fields of one name are joined with a comma, as Envoy does. */
  readonly header: (name: string) => string | undefined
  /** How many fields of this name came, where the message tells (`header_map`); else 1 or 0. */
  readonly headerCount: (name: string) => number
  /** Lower-case names of all headers, pseudo-headers left out. */
  readonly headerNames: () => Iterable<string>
  /** Those of them that begin with a prefix, or hold `_`: all that could be taken for a name with that prefix. */
  readonly namesLike: (prefix: string) => Iterable<string>
  /** `source.principal`: the first URI SAN, else a DNS SAN, else the subject of the client certificate. */
  readonly peerPrincipal: string
  /** `source.certificate`: URL-encoded PEM, or empty. */
  readonly peerCertificate: string
  /** `context_extensions[name]`. */
  readonly extension: (name: string) => string | undefined
  /** The payload that Envoy's jwt_authn filter verified under this `metadata_key`; empty where it is no JSON object. */
  readonly verifiedPayload: (metadataKey: string) => JsonObject | undefined
}

/** The target of a request after normalization: what routes are matched on. */
export interface Target {
  readonly method: string
  /** Lower case, without port or trailing dot. */
  readonly host: string
  /** The path before the `?`, as sent. */
  readonly path: string
  /** Decoded once; a trailing slash is an empty last segment; `/` has none. */
  readonly segments: readonly string[]
  /** Raw, without the `?`. */
  readonly query: string
  /** Whether a segment held `%2f`. */
  readonly encodedSlash: boolean
  /** Indices of segments that held an escape; undefined where none did. */
  readonly escaped: ReadonlySet<number> | undefined
}
