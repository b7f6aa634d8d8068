import { access, type Caller, type Need, Refusal, tenantRefusal } from '../core/access.ts'
import type { Labels } from '../core/ownership.ts'
import type { Policy } from '../core/policy.ts'

/**
 * Whether a caller may use a resource, by right or because of a role that need not own. Such a role stays within its tenant.
 * @param write whether reading alone is not enough
 * @param labels undefined where the resource is unknown
 */
export function isPermitted(
  policy: Policy,
  caller: Caller,
  bypass: ReadonlySet<string>,
  labels: Labels | undefined,
  need: Need,
  write: boolean,
): boolean {
  if (bypasses(caller, bypass)) return need.source !== undefined || tenantRefusal(policy.ownership, caller, labels) === undefined
  return !(access(policy, caller, labels, need, write) instanceof Refusal)
}

/** Whether a caller has one of the roles that need not own. */
export const bypasses = ({ facts }: Caller, bypass: ReadonlySet<string>): boolean =>
  bypass.size > 0 && facts.roles.some((role) => bypass.has(role))
