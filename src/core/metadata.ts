import { type Caller, callerOf } from './access.ts'
import { type CacheUse, cacheUses, type Facts, type OwnerMatch, ownerMatches } from './facts.ts'
import { perObject } from './per-object.ts'
import { percentEncode, percentEncodeList } from './percent.ts'
import type { Policy } from './policy.ts'
import type { Principal } from './principal.ts'
import { type DenyReason, denyReasons } from './reasons.ts'
import { isProcessed, type Route } from './route.ts'

export type MetadataValue = string | number | boolean
export type MetadataGroup = Readonly<Record<string, MetadataValue>>

/**
 * Dynamic metadata of an answer, on allow and deny (CheckResponse.dynamic_metadata): what access logs print. Its
 * strings are percent-encoded, since access logs print line breaks raw. What is not known is left out. No token, ever.
 */
export interface Metadata {
  /** Members that are the same from request to request. One that serves many stays one object, so that it is written out once. */
  readonly shared: readonly MetadataGroup[]
  /** Members of this one request. */
  readonly own: readonly (readonly [name: string, value: MetadataValue])[]
}

/** All members as one object. */
export const metadataObject = ({ shared, own }: Metadata): MetadataGroup => Object.assign({}, ...shared, Object.fromEntries(own))

/** The value of one member. */
export const metadataValue = (metadata: Metadata, name: string): MetadataValue | undefined => metadataObject(metadata)[name]

type Verdict = 'ok' | DenyReason

/**
 * @param reason `ok` on allow; on `enforce: false` the reason of the denial, with `enforced` false
 * @param micros check_us
 */
export function metadataOf(facts: Facts, reason: Verdict, enforced: boolean, micros: number): Metadata {
  const { principal, route, workload, resource } = facts
  const shared = [verdictGroup(reason, enforced, facts.ownerMatch, facts.cache), policyGroup(facts.policy)]
  if (route) shared.push(routeGroup(route))
  if (principal) {
    shared.push(principalTexts(principal))
    if (route && isProcessed(route)) shared.push(ownershipTexts(callerOf(principal, facts.policy.ownership)))
  }
  const own: [string, MetadataValue][] = [
    ['decision_id', facts.decisionId],
    ['check_us', micros],
  ]
  if (workload) own.push(['workload', percentEncode(workload.id)])
  if (resource !== undefined) own.push(['resource', percentEncode(resource)])
  return { shared, own }
}

const verdicts = new Map<Verdict, number>(['ok' as const, ...denyReasons].map((reason, i) => [reason, i]))
const verdictGroups: (MetadataGroup | undefined)[] = []

/** There are few of them: each is made when it is first met. */
function verdictGroup(reason: Verdict, enforced: boolean, match: OwnerMatch, cache: CacheUse): MetadataGroup {
  const slot =
    ((verdicts.get(reason)! * 2 + (enforced ? 1 : 0)) * ownerMatches.length + ownerMatches.indexOf(match)) * cacheUses.length +
    cacheUses.indexOf(cache)
  verdictGroups[slot] ??= { decision: reason === 'ok' ? 'allow' : 'deny', enforced, reason, owner_match: match, cache }
  return verdictGroups[slot]
}

const policyGroup = perObject((policy: Policy): MetadataGroup => ({ policy: policy.revision, realm: policy.realm }))

const routeGroup = perObject(
  ({ id, downstream }: Route): MetadataGroup => ({ route: id, ...(downstream && { audience: percentEncode(downstream.audience) }) }),
)

/** A principal as metadata and headers spell it. */
export const principalTexts = perObject(({ subject, issuer, roles }: Principal) => ({
  subject: percentEncode(subject),
  issuer: percentEncode(issuer),
  roles: percentEncodeList(roles),
}))

/** Bytes of all groups together. Metadata is part of every answer and of what Envoy hands to ext_proc. */
const maxGroupBytes = 4096

const groupsText = perObject((caller: Caller): string => percentEncodeList(caller.facts.groups))

/** Whether the groups of a caller can be told: those of somebody who is in too many are left out as a whole. */
export const fitsMetadata = (caller: Caller): boolean => groupsText(caller).length <= maxGroupBytes

/** What captures, removals and filters have to know of the caller; `owner` and `tenant` as labels say them. */
const ownershipTexts = perObject((caller: Caller): MetadataGroup => {
  const { validator, tenant, groups } = caller.facts
  return {
    owner: caller.owner,
    validator: percentEncode(validator),
    ...(tenant !== undefined && { tenant }),
    ...(groups.length > 0 && fitsMetadata(caller) && { groups: groupsText(caller) }),
  }
})
