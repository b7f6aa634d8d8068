import type { RoleClosure } from '../core/roles.ts'
import type { Conditions } from './conditions.ts'
import type { Draft } from './draft.ts'
import type { Shared } from './shared.ts'

/** What a route is compiled against. */
export interface RouteContext {
  readonly draft: Draft
  readonly closure: RoleClosure
  readonly conditions: Conditions
  readonly shared: Shared
}
