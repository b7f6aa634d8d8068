import type { CredentialPlaces } from './credential-places.ts'
import type { Edge } from './edge.ts'
import type { RouteTable } from './route-table.ts'

/** Names of the headers that Postern sets, lower case. */
export interface HeaderNames {
  readonly prefix: string
  readonly subject: string
  readonly issuer: string
  readonly roles: string
  readonly workload: string
  readonly decision: string
  readonly owner: string
  /** All of the above and every configured claim header: removed wherever it is not set. */
  readonly fixed: readonly string[]
}

/** What a denial tells the client (`denials`). */
export interface DenialSettings {
  readonly detail: boolean
  /** `realm` of `WWW-Authenticate` (RFC 6750, section 3). */
  readonly realm: string
  /** `resource_metadata` of RFC 9728, section 5.1. */
  readonly resourceMetadata: string | undefined
  /** `algs` of a DPoP challenge: JWS algorithms, with spaces (RFC 9449, section 7.1). */
  readonly proofAlgorithms: string
}

/** `ownership`, compiled. */
export interface OwnershipRules {
  /** Name of the label that shares a resource; undefined: nothing is shared. */
  readonly shared: string | undefined
  /** Claim that lists the groups of a principal; dots lead into objects. */
  readonly groupsClaim: string
  /** The tenant that a resource belongs to must be the principal's; undefined: there are no tenants. */
  readonly tenant: { readonly label: string; readonly claim: string; readonly bypass: ReadonlySet<string> } | undefined
  /** Where a resource's endpoint stands, and which addresses it may have (what is no IP address, it may not); undefined: nothing is reached directly. */
  readonly endpoint: { readonly label: string; readonly allows: (ip: string) => boolean } | undefined
  /** All that presented roles give, inheritance worked in. */
  readonly given: (roles: readonly string[]) => ReadonlySet<string>
  /** What stands before the subjects of a validator, by its name. */
  readonly namespaces: ReadonlyMap<string, string>
}

/** What the check path reads of a policy file: compiled once, replaced as a whole. */
export interface Policy {
  readonly realm: string
  /** First 12 hex digits of the SHA-256 of what the policy was read from. */
  readonly revision: string
  readonly routes: RouteTable
  readonly preflight: 'deny' | 'allow'
  readonly headers: HeaderNames
  readonly denials: DenialSettings
  /** Trust domains whose SPIFFE IDs are workloads here: those of mtls validators and of the routes' `workload` lists. */
  readonly trustDomains: ReadonlySet<string>
  /** `metadata_key`s of the validators with `verified_by: envoy`. */
  readonly metadataKeys: readonly string[]
  /** Where credentials are looked for beside `Authorization`, and stripped. */
  readonly places: CredentialPlaces
  /** Edges in front whose headers are believed. */
  readonly edges: readonly Edge[]
  /** Names of the `basic` validators. */
  readonly basics: readonly string[]
  /** Lower-case names of further headers that are removed on every route: proofs, and names that clients may not say. */
  readonly stripped: readonly string[]
  /** The owner label's name. */
  readonly ownerLabel: string
  /** Who may use a resource beside its owner, and what else its labels decide. */
  readonly ownership: OwnershipRules
  /** For a `json` source: the validator whose raw subjects it holds. */
  readonly subjectsOf: ReadonlyMap<string, string>
}
