import type { BearerToken } from './bearer-token.ts'
import type { Deny } from './reasons.ts'

/** Headers to set: lower-case name → value. One that serves many requests stays one object, so that it is written out once. */
export type HeaderGroup = ReadonlyMap<string, string>

/** Changes to the request on its way to the upstream (envoy.service.auth.v3.OkHttpResponse). No name is set twice, or set and removed. */
export interface Mutations {
  /** Headers to set that are the same from request to request, each overwriting. */
  readonly shared: readonly HeaderGroup[]
  /** Headers to set of this one request, each overwriting; the token stands in `authorization`. */
  readonly own: readonly (readonly [name: string, value: string | BearerToken])[]
  /** Lower-case names that are the same from request to request. */
  readonly remove: readonly string[]
  /** What of this one request's headers is to be removed beside them. */
  readonly removeAlso: readonly string[]
  /** `query_parameters_to_remove`. */
  readonly removeQuery: readonly string[]
}

/** All headers that are set, by name. */
export function headersSet({ shared, own }: Mutations): Map<string, string> {
  const all = new Map<string, string>()
  for (const group of shared) for (const [name, value] of group) all.set(name, value)
  for (const [name, value] of own) all.set(name, typeof value === 'string' ? value : value.authorization)
  return all
}

/** All headers that are removed. */
export const headersRemoved = ({ remove, removeAlso }: Mutations): string[] => [...remove, ...removeAlso]

/** A request that goes on to the upstream. */
export interface Allow {
  /** A {@link Deny}: denied, recorded, and let through without identity since the route says `enforce: false`. */
  readonly access: 'principal' | 'public' | Deny
  readonly mutations: Mutations
}

export type Decision = Allow | Deny
