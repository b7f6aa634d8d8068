import type { Context } from './context.ts'
import type { Setting } from './setting.ts'

/** What a requirement demands of a request. */
interface Demand {
  /** Whether a request without a token passes. */
  readonly missing: boolean
  /** Whether one with a token that is no good passes. */
  readonly failed: boolean
  /** Where it lets claims through that nobody verified. */
  readonly unverified: readonly Setting[]
}

/** Checks which requests have their tokens verified, and which are refused by Envoy itself. */
export function lintRules(config: Setting, context: Context): void {
  const map = config.at('requirement_map')
  for (const [, requirement] of map.members) tellUnverified(demandOf(requirement), context)
  const rules = config.at('rules')
  for (const rule of rules.items) lintRule(rule, map, context)
  for (const [, requirement] of config.at('filter_state_rules', 'requires').members) tellUnverified(demandOf(requirement), context)
  if (context.patch || config.at('filter_state_rules').present || (map.present && rules.items.length === 0)) return
  if (!rules.items.some((rule) => coversAll(rule.at('match'))))
    context.findings.tell(
      'jwt-rules-gap',
      rules,
      rules.items.length === 0
        ? 'no rule says which requests have their tokens verified'
        : 'no rule covers the requests that match none of these',
      'as last rule { match: { prefix: / }, requires: … }',
    )
}

/** A rule's match of every request: `prefix: /` and no more. */
const coversAll = (match: Setting): boolean => match.at('prefix').text === '/' && match.members.length === 1

function lintRule(rule: Setting, map: Setting, context: Context): void {
  const { findings, policy } = context
  const named = rule.at('requirement_name')
  const requirement = named.present ? map.at(named.text ?? '') : rule.at('requires')
  if (!requirement.present) {
    findings.tell(
      'jwt-rules-gap',
      rule,
      'this rule requires nothing',
      'requires: { requires_any: { requirements: [{ provider_name: … }, { allow_missing_or_failed: {} }] } }',
    )
    return
  }
  const demand = demandOf(requirement)
  tellUnverified(demand, context)
  if (!policy?.others || (demand.missing && demand.failed)) return
  findings.tell(
    'jwt-refuses-others',
    requirement,
    `requests with another credential${demand.missing ? ' as bearer token' : ', or with none,'} end here`,
    'requires_any with the provider and allow_missing_or_failed: {}',
  )
}

function tellUnverified({ unverified }: Demand, { findings }: Context): void {
  for (const at of unverified)
    findings.tell(
      'jwt-extract-only',
      at,
      'claims are taken from tokens whose signature nobody looked at',
      'provider_name, or allow_missing_or_failed: {} where other credentials may come',
    )
}

/** What a `JwtRequirement` demands. */
function demandOf(requirement: Setting): Demand {
  const extract = requirement.at('extract_only_without_validation')
  if (extract.present) return { missing: true, failed: true, unverified: [extract] }
  if (requirement.at('allow_missing_or_failed').present) return { missing: true, failed: true, unverified: [] }
  if (requirement.at('allow_missing').present) return { missing: true, failed: false, unverified: [] }
  const any = requirement.at('requires_any', 'requirements')
  const all = requirement.at('requires_all', 'requirements')
  if (!any.present && !all.present) return { missing: false, failed: false, unverified: [] }
  const inner = [...any.items, ...all.items].map(demandOf)
  const holds = (of: (demand: Demand) => boolean): boolean => (any.present ? inner.some(of) : inner.every(of))
  return {
    missing: holds(({ missing }) => missing),
    failed: holds(({ failed }) => failed),
    unverified: inner.flatMap(({ unverified }) => unverified),
  }
}
