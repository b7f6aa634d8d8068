import type { Stage } from '../check/stage.ts'
import { type Authorized, authorized, type NotRevoked } from '../core/facts.ts'
import { claimHeaders } from '../core/header-edits.ts'
import { type Labels, noLabels } from '../core/ownership.ts'
import { type Deny, deny } from '../core/reasons.ts'
import { meetsRoles } from '../core/roles.ts'
import type { Condition } from '../core/route.ts'
import { meetsScopes } from '../core/scopes.ts'

/** Workload, roles, scopes, condition and the size of the claims, in this order; pure. */
export const authorize: Stage<NotRevoked, Authorized> = {
  name: 'authorize',
  run: (state) => {
    const { principal, route, workload } = state
    if (route.workloads && !(workload && route.workloads.has(workload.id))) {
      return deny('workload_not_allowed', workload ? 'the workload is not on the list of this route' : 'the request came from no workload')
    }
    if (route.roles && !meetsRoles(route.roles, principal.roles)) {
      return deny('missing_role', `${route.roles.mode} of: ${route.roles.names.join(', ')}`)
    }
    if (route.scopes && !meetsScopes(route.scopes, principal.scopes, state.params)) {
      return deny('missing_scope', `${route.scopes.mode} of: ${route.scopes.names.join(', ')}`)
    }
    if (route.condition && !route.condition.readsResource) {
      const failed = conditionFailure(route.condition, state, noLabels)
      if (failed) return failed
    }
    const claims = claimHeaders(route.claims, principal)
    return claims ? authorized(state, claims) : deny('claims_too_large', 'the claims that the route hands on take more than 4 KiB')
  },
}

/** A condition that is false and one that cannot be evaluated are the same to the caller. */
export function conditionFailure(condition: Condition, state: NotRevoked, resource: Labels): Deny | undefined {
  const { request, target, principal, workload, params, now } = state
  try {
    return condition.holds({ request, target, principal, workload, params, resource, now }) ? undefined : deny('condition_failed', 'false')
  } catch (cause) {
    return deny('condition_failed', `evaluation failed: ${cause instanceof Error ? cause.message : String(cause)}`)
  }
}
