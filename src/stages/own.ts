import type { Stage } from '../check/stage.ts'
import { type Authorized, factsOf, type NotRevoked, noteCache, noteOwnership, type Owned, owned } from '../core/facts.ts'
import { type Labels, noLabels, ownerLabelValue } from '../core/ownership.ts'
import { perObject } from '../core/per-object.ts'
import { type LookedUp, type OwnerLookup, type Soon, Unavailable } from '../core/ports.ts'
import type { Principal } from '../core/principal.ts'
import { type Deny, deny } from '../core/reasons.ts'
import { type IdAnswer, resourceId } from '../core/resource-id.ts'
import type { OwnerDemand } from '../core/route.ts'

/** Decides whether a condition holds, once the labels are known. */
export type ResourceCondition = (state: NotRevoked, labels: Labels) => Deny | undefined

/**
 * Whether the resource named in the request is the caller's. Denies `not_owner` (also for what is unknown, so
 * that nobody can probe for ids), `owner_unavailable`, and `bad_request` for an id that is missing or misshapen.
 * A condition that reads labels is decided here, after the owner.
 */
export const own = (owners: OwnerLookup, condition: ResourceCondition): Stage<Authorized, Owned> => ({
  name: 'own',
  run: (state) => {
    const { route } = state
    const asksLabels = route.condition?.readsResource === true
    if (!route.owner) return asksLabels ? (condition(state, noLabels) ?? owned(state)) : owned(state)
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
    if (bypassed && !asksLabels) return owned(state)
    const settle = (found: LookedUp): Owned | Deny => {
      noteCache(state, found.cache)
      if (!bypassed) {
        const refusal = ownerRefusal(state, demand, found.labels)
        noteOwnership(state, resource, refusal ? 'no' : 'yes')
        if (refusal) return refusal
      }
      return asksLabels ? (condition(state, found.labels ?? noLabels) ?? owned(state)) : owned(state)
    }
    return lookUp(owners, demand, id.id, factsOf(state).monotonic, settle)
  },
})

function lookUp(
  owners: OwnerLookup,
  demand: OwnerDemand,
  id: string,
  at: number,
  settle: (found: LookedUp) => Owned | Deny,
): Soon<Owned | Deny> {
  try {
    const found = owners.labels(demand.source, demand.resource, id, at)
    return found instanceof Promise ? found.then(settle, unavailable) : settle(found)
  } catch (cause) {
    return unavailable(cause)
  }
}

function unavailable(cause: unknown): Deny {
  if (cause instanceof Unavailable) return deny('owner_unavailable', cause.message)
  throw cause
}

function ownerRefusal(state: Authorized, demand: OwnerDemand, labels: Labels | undefined): Deny | undefined {
  const { policy, principal } = state
  const owner = labels?.get(policy.ownerLabel)
  if (owner === undefined || owner === '') return deny('not_owner', labels ? 'the resource has no owner' : 'the resource is unknown')
  if (demand.source === undefined) {
    return owner === labelOf(principal) ? undefined : deny('not_owner', 'the owner is somebody else')
  }
  // A platform's own data holds subjects as one validator's tokens say them: the same text from another is another person.
  const validator = policy.subjectsOf.get(demand.source)
  if (validator !== undefined && principal.validator !== validator) {
    return deny('not_owner', `the owners of ${demand.source} are subjects of another validator`)
  }
  return owner === principal.rawSubject ? undefined : deny('not_owner', 'the owner is somebody else')
}

/** A principal's subject as an owner label: for most subjects of identity providers it is a hash. */
const labelOf = perObject((principal: Principal): string => ownerLabelValue(principal.subject))
