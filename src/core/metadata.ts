import type { Facts } from './facts.ts'
import type { Json, JsonObject } from './json.ts'
import { percentEncode, percentEncodeList } from './percent.ts'
import type { DenyReason } from './reasons.ts'

/**
 * Dynamic metadata of an answer, on allow and deny (CheckResponse.dynamic_metadata): what access logs print.
 * Strings are percent-encoded, since access logs print line breaks raw. What is not known is left out. No
 * token, ever.
 * @param reason `ok` on allow; on `enforce: false` the reason of the denial, with `enforced` false
 * @param micros check_us
 */
export function metadataOf(facts: Facts, reason: 'ok' | DenyReason, enforced: boolean, micros: number): JsonObject {
  const { principal, route } = facts
  const out: Record<string, Json> = {
    decision: reason === 'ok' ? 'allow' : 'deny',
    enforced,
    reason,
    decision_id: facts.decisionId,
    policy: facts.policy.revision,
    realm: facts.policy.realm,
    owner_match: facts.ownerMatch,
    check_us: micros,
    cache: facts.cache,
  }
  if (route) {
    out['route'] = route.id
    if (route.downstream) out['audience'] = percentEncode(route.downstream.audience)
  }
  if (principal) {
    out['subject'] = percentEncode(principal.subject)
    out['issuer'] = percentEncode(principal.issuer)
    out['roles'] = percentEncodeList(principal.roles)
  }
  if (facts.workload) out['workload'] = percentEncode(facts.workload.id)
  if (facts.resource !== undefined) out['resource'] = percentEncode(facts.resource)
  return out
}
