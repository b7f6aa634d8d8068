import { existsSync } from 'node:fs'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import { issuerWarning } from './providers-issuer.ts'
import type { FederationSettings } from './schema-issuer.ts'
import { parseSubjectTemplate } from './subject-template.ts'

/** Tells what is legal in federation rules, but hardly meant. */
export function warnOfFederation({ sections, identity }: Pick<Draft, 'sections' | 'identity'>, report: Report): void {
  const rules = sections.issuer.federation
  for (const [i, rule] of rules.entries()) {
    const path: Path = ['issuer', 'federation', i]
    const wrong = rule.issuer === undefined ? undefined : issuerWarning(rule.issuer, undefined)
    if (wrong) report([...path, 'issuer'], wrong)
    const template = parseSubjectTemplate(rule.subject)
    if ('holes' in template && template.holes.length === 0)
      report(
        [...path, 'subject'],
        `every workload of "${rule.name}" is the same to us: write a claim into it, such as ${rule.subject}:{sub}`,
      )
    const edge = identity.find((entry) => entry?.type === 'postern' && (rule.audiences?.includes(entry.audience) ?? true))
    const bound = edge?.type === 'postern' ? edge.may_assert : undefined
    for (const [j, role] of (rule.roles ?? []).entries())
      if (bound && !bound.includes(role))
        report(
          [...path, 'roles', j],
          `"${edge?.name}" admits no token with the role "${role}": write it into its may_assert, or leave it out`,
        )
    const { file } = rule.jwks ?? {}
    if (file !== undefined && !existsSync(file))
      report([...path, 'jwks', 'file'], `"${file}" is not there: write it, or nothing of "${rule.name}" can be verified`)
    const above = rules.slice(0, i).find((one) => one.when === undefined && alike(one, rule))
    if (above) report(path, `"${above.name}" above it takes all tokens of this issuer and audience: write a when there, or put it below`)
  }
}

const alike = (one: FederationSettings, other: FederationSettings): boolean =>
  one.issuer === other.issuer && one.trust_domain === other.trust_domain && one.audience === other.audience
