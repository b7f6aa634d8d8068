import type { JsonPointer } from './json-pointer.ts'
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
  /** No near copy will do: state is asked each time (`freshness: strict`). */
  readonly strict: boolean
  /** The request takes the resource away (`removes: true`): ext_proc marks its labels before and removes them after. */
  readonly removes: boolean
  /** The request goes straight to the endpoint that the resource's label names (`direct: true`). */
  readonly direct: boolean
}

/** Where a response of the upstream says something: a header (lower case), a place in a JSON body (RFC 6901), the last part of `Location`. */
export type ResponsePlace =
  | { readonly from: 'header'; readonly name: string }
  | { readonly from: 'body'; readonly pointer: JsonPointer }
  | { readonly from: 'location' }

/** A route that makes resources: ext_proc reads which from the response, and writes who owns it. */
export interface Capture {
  readonly resource: string
  /** The first that the response has counts. */
  readonly ids: readonly ResponsePlace[]
  readonly idPattern: IdPattern
  /** Statuses that mean that a resource was made. */
  readonly codes: ReadonlySet<number>
  /** Bytes of the body, where a place is in it; a larger one is refused. */
  readonly maxBody: number
  /** Where the response says at which `ip:port` the resource is. */
  readonly endpoint: ResponsePlace | undefined
}

/** How a list in a response is reduced to what the caller may read. */
export interface ListFilter {
  /** The array in the JSON body. */
  readonly items: JsonPointer
  /** Within an item: its id. */
  readonly id: JsonPointer
  readonly idPattern: IdPattern
  readonly maxItems: number
  readonly maxBody: number
}

/** A route that lists resources: `x-postern-owner` goes on, and where the upstream cannot filter, ext_proc does. */
export interface ListDemand {
  readonly resource: string
  /** Name under `sources`, or undefined for Postern's own labels. */
  readonly source: string | undefined
  /** Presented roles that see all of them. */
  readonly bypass: ReadonlySet<string>
  readonly filter: ListFilter | undefined
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
  readonly capture: Capture | undefined
  readonly list: ListDemand | undefined
  readonly downstream: Downstream | undefined
  /** Claims handed on as `<prefix>claim-<name>`. */
  readonly claims: readonly ClaimHeader[]
  readonly audit: 'none' | 'denials' | 'all'
  /** Whether `%2f` may stand inside a path parameter. */
  readonly encodedSlash: boolean
}

/** Whether ext_proc looks at the route's requests, and has to know who asks. */
export const isProcessed = ({ capture, list, owner }: Pick<Route, 'capture' | 'list' | 'owner'>): boolean =>
  capture !== undefined || owner?.removes === true || list?.filter !== undefined

/** A claim that is handed on, and the header for it. */
export interface ClaimHeader {
  readonly claim: string
  /** Lower case, with the prefix. */
  readonly header: string
}
