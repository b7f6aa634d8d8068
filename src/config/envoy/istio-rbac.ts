import type { Context } from './context.ts'
import { type HttpFilter, isExtAuthz } from './managers.ts'
import { isType } from './model.ts'
import type { Setting } from './setting.ts'

/** By such a key Istio's RBAC filter tells ext_authz which CUSTOM policy matched a request; it may name the provider. */
const istioKey = /^istio_ext_authz_(?:.+_)?shadow_effective_policy_id$/

/** Whether an ext_authz filter is one that istiod made: it runs where a CUSTOM policy matched. */
export const isAskedByIstio = (config: Setting): boolean =>
  config.at('filter_enabled_metadata', 'path').items.some((step) => istioKey.test(step.at('key').text ?? ''))

/** Checks which requests the CUSTOM policies of a dump match: the shadow rules of the RBAC filter before ext_authz. */
export function lintIstioRules(filters: readonly HttpFilter[], { findings }: Context): void {
  const asked = filters.findIndex((filter) => isExtAuthz(filter) && isAskedByIstio(filter.config))
  if (asked < 0) return
  const rules = filters
    .slice(0, asked)
    .filter(({ type }) => isType(type, 'http.rbac.v3.RBAC'))
    .map(({ config }) => config.at('shadow_rules', 'policies'))
    .filter((policies) => policies.present)
  if (rules.some((policies) => policies.members.some(([, policy]) => matchesAll(policy)))) return
  const at = rules[0] ?? filters[asked]!.config.at('filter_enabled_metadata')
  const names = rules.flatMap((policies) => policies.members.map(([name]) => name)).join(', ')
  findings.tell(
    'istio-rules',
    at,
    names === '' ? 'no rule says which requests are asked about' : `${names} match some requests alone`,
    'rules: [{}] in the AuthorizationPolicy; public routes are public: true in the policy of Postern',
  )
}

/** Whether a policy of RBAC matches every request of everybody. */
function matchesAll(policy: Setting): boolean {
  const some = (list: Setting): boolean => list.items.some(isAny)
  return some(policy.at('permissions')) && some(policy.at('principals')) && !policy.at('condition').present
}

/** `any: true`, also in the lists that istiod puts around it. */
function isAny(rule: Setting): boolean {
  if (rule.at('any').on) return true
  const all = [...rule.at('and_rules', 'rules').items, ...rule.at('and_ids', 'ids').items]
  if (all.length > 0) return all.every(isAny)
  return [...rule.at('or_rules', 'rules').items, ...rule.at('or_ids', 'ids').items].some(isAny)
}
