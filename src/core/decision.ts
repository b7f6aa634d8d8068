import type { Deny } from './reasons.ts'

/** Changes to the request on its way to the upstream (envoy.service.auth.v3.OkHttpResponse). */
export interface Mutations {
  /** Lower-case name → value, each overwriting. */
  readonly set: ReadonlyMap<string, string>
  /** Lower-case names; none of them is also set. */
  readonly remove: readonly string[]
  /** `query_parameters_to_remove`. */
  readonly removeQuery: readonly string[]
}

/** A request that goes on to the upstream. */
export interface Allow {
  /** A {@link Deny}: denied, recorded, and let through without identity since the route says `enforce: false`. */
  readonly access: 'principal' | 'public' | Deny
  readonly mutations: Mutations
}

export type Decision = Allow | Deny
