import type { Workload } from './principal.ts'
import type { Request } from './request.ts'

/** The claim headers of an edge in front that already verified who asks, and when they are to be believed. */
export interface Edge {
  /** Name of its validator. */
  readonly name: string
  /** Lower-case names of the headers that it sets: a request that does not come from it keeps none of them. */
  readonly headers: readonly string[]
  /** Whether a request comes from it: by the workload that holds the client certificate, or by its proof. */
  readonly trusts: (request: Request, workload: Workload | undefined) => boolean
}
