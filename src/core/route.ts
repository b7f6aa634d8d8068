import type { Labels } from './ownership.ts'
import type { Principal, Workload } from './principal.ts'
import type { Request, Target } from './request.ts'
import type { RoleDemand } from './roles.ts'
import type { ScopeDemand } from './scopes.ts'

/** What a condition may look at (docs/guides/roles-scopes-conditions.md). */
export interface ConditionFacts {
  readonly request: Request
  readonly target: Target
  readonly principal: Principal
  readonly workload: Workload | undefined
  readonly params: ReadonlyMap<string, string>
  /** Labels of the owned resource; empty where it has none or the route names no resource. */
  readonly resource: Labels
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** A CEL expression, parsed and type-checked when the policy was read. Throws where its evaluation fails. */
export interface Condition {
  readonly source: string
  /** Such a condition runs at the end of own, after the owner check. */
  readonly readsResource: boolean
  readonly holds: (facts: ConditionFacts) => boolean
}

/** Where a request names its resource: `path:NAME`, `header:NAME` or `query:NAME`. */
export interface IdSource {
  readonly from: 'path' | 'header' | 'query'
  /** Header names in lower case. */
  readonly name: string
}

/** Which ids are legal. `test` asks about the whole id, in time that grows with its length at most. */
export interface IdPattern {
  readonly test: (id: string) => boolean
}

/** The owner check of a route. */
export interface OwnerDemand {
  readonly resource: string
  readonly id: IdSource
  readonly idPattern: IdPattern
  /** `allow` skips only the owner check, and only where the id was not sent in any spelling. */
  readonly whenAbsent: 'deny' | 'allow'
  /** Name under `sources`, or undefined for Postern's own labels. */
  readonly source: string | undefined
  /** Presented roles that pass without owning; inheritance is already worked in. */
  readonly bypass: ReadonlySet<string>
}

/** The downstream token of a route. */
export interface Downstream {
  readonly audience: string
  readonly scope: readonly string[]
  /** Seconds. */
  readonly ttl: number
  readonly via: 'issuer' | { readonly sts: string }
}

/** Which proof of possession a route demands (RFC 8705, RFC 9449); with `none` every bound token is proved all the same. */
export type Binding = 'none' | 'mtls' | 'dpop'

/** What a route demands and hands on, compiled; what it is matched on stands in the route table. */
export interface Route {
  readonly id: string
  readonly public: boolean
  /** false: 401 and 403 are recorded and let through, without identity. */
  readonly enforce: boolean
  /** `keep`: the upstream has a login of its own; `Authorization` is passed on and is no credential here. */
  readonly authorization: 'replace' | 'keep'
  /** Names of the validators that may identify; undefined for all. */
  readonly validators: ReadonlySet<string> | undefined
  /** SPIFFE IDs, one of which must hold the client certificate. */
  readonly workloads: ReadonlySet<string> | undefined
  readonly binding: Binding
  readonly roles: RoleDemand | undefined
  readonly scopes: ScopeDemand | undefined
  readonly condition: Condition | undefined
  readonly owner: OwnerDemand | undefined
  readonly downstream: Downstream | undefined
  /** Claims handed on as `<prefix>claim-<name>`. */
  readonly claims: readonly ClaimHeader[]
  readonly audit: 'none' | 'denials' | 'all'
  /** Whether `%2f` may stand inside a path parameter. */
  readonly encodedSlash: boolean
}

/** A claim that is handed on, and the header for it. */
export interface ClaimHeader {
  readonly claim: string
  /** Lower case, with the prefix. */
  readonly header: string
}
