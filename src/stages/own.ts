import type { Stage } from '../check/stage.ts'
import { access, bypassesTenants, callerOf, isWrite, listOwner, Refusal, tenantRefusal } from '../core/access.ts'
import {
  type Authorized,
  factsOf,
  type NotRevoked,
  noteBypass,
  noteCache,
  noteEndpoint,
  noteOwnership,
  type Owned,
  owned,
} from '../core/facts.ts'
import { fitsMetadata } from '../core/metadata.ts'
import { type Labels, labelsAlone, noLabels } from '../core/ownership.ts'
import { type LookedUp, type OwnerLookup, type Soon, Unavailable } from '../core/ports.ts'
import { type Deny, deny } from '../core/reasons.ts'
import { endpointOf } from '../core/resource-endpoint.ts'
import { type IdAnswer, resourceId } from '../core/resource-id.ts'
import type { ListDemand, OwnerDemand } from '../core/route.ts'

/** Decides whether a condition holds, once the labels are known. */
export type ResourceCondition = (state: NotRevoked, labels: Labels) => Deny | undefined

/**
 * Whether the resource named in the request is the caller's, or shared with it. Denies `not_owner` (also for what is unknown, so
 * that nobody can probe for ids), `owner_unavailable`, `endpoint_unavailable`, and `bad_request` for an id that is missing or
 * misshapen. A condition that reads labels is decided here, after the owner.
 */
export const own = (owners: OwnerLookup, condition: ResourceCondition): Stage<Authorized, Owned> => ({
  name: 'own',
  run: (state) => {
    const { route, policy } = state
    const asksLabels = route.condition?.readsResource === true
    if (!route.owner) {
      const refusal = route.list ? listRefusal(state, route.list) : route.capture && captureRefusal(state)
      if (refusal) return refusal
      return asksLabels ? (condition(state, noLabels) ?? owned(state)) : owned(state)
    }
    const demand = route.owner
    const id: IdAnswer = resourceId(demand, state)
    if (id.kind === 'malformed') return deny('bad_request', id.detail)
    if (id.kind === 'absent') {
      if (demand.whenAbsent === 'deny') return deny('bad_request', `the id of the ${demand.resource} is missing`)
      return asksLabels ? (condition(state, noLabels) ?? owned(state)) : owned(state)
    }
    const bypassed = state.principal.roles.some((role) => demand.bypass.has(role))
    const resource = `${demand.resource}:${id.id}`
    noteOwnership(state, resource, bypassed ? 'bypassed' : 'none')
    if (bypassed && !asksLabels && !demand.direct && reachesAllTenants(state)) return owned(state)
    const settle = (found: LookedUp): Owned | Deny => {
      noteCache(state, found.cache)
      const caller = callerOf(state.principal, policy.ownership)
      const right = bypassed
        ? (tenantRefusal(policy.ownership, caller, found.labels) ?? 'bypassed')
        : access(policy, caller, found.labels, demand, isWrite(state.target.method))
      if (right instanceof Refusal) {
        noteOwnership(state, resource, 'no')
        return deny('not_owner', right.detail)
      }
      noteOwnership(state, resource, right === 'owner' ? 'yes' : right)
      const failure = asksLabels ? condition(state, found.labels === undefined ? noLabels : labelsAlone(found.labels)) : undefined
      if (failure) return failure
      return demand.direct ? directed(state, found.labels) : owned(state)
    }
    return lookUp(owners, demand, id.id, factsOf(state).monotonic, settle)
  },
})

/** Whoever bypasses owners stays in its tenant, unless it bypasses tenants too. */
const reachesAllTenants = ({ policy, principal }: Authorized): boolean =>
  policy.ownership.tenant === undefined || bypassesTenants(policy.ownership.tenant, callerOf(principal, policy.ownership))

/** The request goes to the resource itself: without an endpoint that it may have, it goes nowhere. */
function directed(state: Authorized, labels: Labels | undefined): Owned | Deny {
  const endpoint = endpointOf(state.policy.ownership, labels)
  if ('fault' in endpoint) return deny('endpoint_unavailable', endpoint.fault)
  noteEndpoint(state, endpoint.address)
  return owned(state)
}

/** A list is for everybody; what is on it, the upstream and ext_proc see to by what they are told of the caller. */
function listRefusal(state: Authorized, list: ListDemand): Deny | undefined {
  const { policy, principal } = state
  const caller = callerOf(principal, policy.ownership)
  const whose = listOwner(policy, caller, list)
  if (whose instanceof Refusal) return deny('not_owner', whose.detail)
  if (whose === '*') noteBypass(state)
  else if (list.filter && !fitsMetadata(caller)) return deny('claims_too_large', 'the groups of the caller are too many to be handed on')
  return undefined
}

/** What somebody of no tenant makes would be nobody's to use. */
function captureRefusal({ policy, principal }: Authorized): Deny | undefined {
  const { tenant } = policy.ownership
  if (tenant === undefined) return undefined
  const caller = callerOf(principal, policy.ownership)
  return caller.facts.tenant === undefined && !bypassesTenants(tenant, caller) ? deny('not_owner', 'the caller has no tenant') : undefined
}

function lookUp(
  owners: OwnerLookup,
  demand: OwnerDemand,
  id: string,
  at: number,
  settle: (found: LookedUp) => Owned | Deny,
): Soon<Owned | Deny> {
  try {
    const found = owners.labels(demand.source, demand.resource, id, at, demand.strict)
    return found instanceof Promise ? found.then(settle, unavailable) : settle(found)
  } catch (cause) {
    return unavailable(cause)
  }
}

function unavailable(cause: unknown): Deny {
  if (cause instanceof Unavailable) return deny('owner_unavailable', cause.message)
  throw cause
}
