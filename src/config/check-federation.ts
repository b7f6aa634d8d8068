import { operatorNamespace } from '../core/management-plane.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import { checkRoles } from './check-identity.ts'
import { endpointFault } from './check-listen.ts'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import { ClaimConditions } from './federation-conditions.ts'
import type { FederationSettings } from './schema-issuer.ts'
import { parseSubjectTemplate } from './subject-template.ts'

/** Issuers whose tokens anybody can have: a rule for one of them has to say which are meant. */
const anybodys =
  /^https:\/\/(?:token\.actions\.githubusercontent\.com|gitlab\.com|accounts\.google\.com|app\.terraform\.io|agent\.buildkite\.com)\/?$/

/** Checks the federation rules, one by one and against the rest of the policy. */
export function checkFederation(draft: Draft, report: Report): void {
  const rules = draft.sections.issuer.federation
  if (rules.length === 0) return
  const at: Path = ['issuer', 'federation']
  if (!draft.named.issuer) report(at, 'tokens are swapped at the issuer listener: expected listen.issuer', { at: 'key' })
  const conditions = new ClaimConditions()
  const names = new Set<string>()
  for (const [i, rule] of rules.entries()) {
    const path = [...at, i]
    if (names.has(rule.name) || draft.named.validators.has(rule.name))
      report([...path, 'name'], `the name "${rule.name}" occurs twice: expected each rule and validator to have its own`)
    names.add(rule.name)
    checkWhose(rule, path, draft, report)
    checkKeys(rule, path, report)
    checkAudiences(rule, path, draft, report)
    checkRoles(rule.roles ?? [], [...path, 'roles'], draft, report)
    if (rule.when !== undefined) {
      const condition = conditions.compile(rule.when)
      if ('message' in condition) report([...path, 'when'], condition.message, { offset: condition.offset })
    }
    const template = parseSubjectTemplate(rule.subject)
    if ('message' in template) report([...path, 'subject'], template.message, { offset: template.offset })
    else {
      const taken = othersSubjects(draft).find(([beginning]) => template.first.startsWith(beginning))
      if (taken) report([...path, 'subject'], `these could be ${taken[1]} ("${taken[0]}…"): expected another beginning`)
    }
  }
}

/** What subjects of others begin with, and who they are: a token with such a subject would never be issued. */
const othersSubjects = ({ identity, sections }: Draft): readonly (readonly [beginning: string, whose: string])[] => [
  [operatorNamespace, 'operators'],
  [`spiffe://${sections.broker.trust_domain}/agent/`, 'agents of the broker'],
  ...identity.flatMap((entry) =>
    entry && 'subject_namespace' in entry && entry.subject_namespace
      ? [[entry.subject_namespace, `subjects of the validator "${entry.name}"`] as const]
      : [],
  ),
]

/** Whose tokens they are: `iss`, or for a JWT-SVID the trust domain. */
function checkWhose({ issuer, trust_domain, jwks, when }: FederationSettings, path: Path, draft: Draft, report: Report): void {
  if (trust_domain !== undefined && !parseSpiffeId(`spiffe://${trust_domain}/x`))
    report([...path, 'trust_domain'], `"${trust_domain}" is no trust domain: expected lower-case letters, digits, ".", "_" and "-"`)
  if (issuer === undefined) {
    if (trust_domain === undefined)
      report([...path, 'issuer'], '"issuer" is missing: expected it as the tokens have it in iss, or for JWT-SVIDs trust_domain')
    else if (jwks?.file === undefined && jwks?.uri === undefined)
      report([...path, 'jwks'], '"jwks" is missing: without an issuer nothing says where the keys are, so expected jwks.file or jwks.uri')
    return
  }
  // Of keys in a file nothing is fetched from the issuer: then its name need not be a URL.
  const fault = jwks?.file === undefined || /^http:/i.test(issuer) ? endpointFault(issuer) : undefined
  if (fault) report([...path, 'issuer'], fault)
  if (sameIssuer(issuer, draft.sections.listen?.issuer?.url))
    report([...path, 'issuer'], 'this is our own issuer, whose tokens are exchanged without a rule: expected another')
  if (when === undefined && anybodys.test(issuer))
    report([...path, 'when'], '"when" is missing: anybody can have a token of this issuer, so expected a condition on its claims')
}

const sameIssuer = (one: string, other: string | undefined): boolean =>
  other !== undefined && one.replace(/\/+$/, '').toLowerCase() === other.replace(/\/+$/, '').toLowerCase()

function checkKeys({ jwks }: FederationSettings, path: Path, report: Report): void {
  if (!jwks) return
  const fault = jwks.uri === undefined ? undefined : endpointFault(jwks.uri)
  if (fault) report([...path, 'jwks', 'uri'], fault)
  if (jwks.file === undefined) return
  for (const key of ['uri', 'ca', 'token'] as const)
    if (jwks[key] !== undefined)
      report([...path, 'jwks', key], `"${key}" does nothing beside file, from which the keys are read: expected one of them`, { at: 'key' })
}

/** Theirs, which says that a token was meant for us, and those of our tokens. */
function checkAudiences({ audience, audiences }: FederationSettings, path: Path, draft: Draft, report: Report): void {
  const { audience: admin } = draft.sections.admin
  const message = `"${admin}" is the audience of admin tokens: expected another`
  if (audience === admin) report([...path, 'audience'], message)
  for (const [i, one] of (audiences ?? []).entries()) if (one === admin) report([...path, 'audiences', i], message)
  if (!audiences && !draft.identity.some((entry) => entry?.type === 'postern'))
    report(
      [...path, 'audiences'],
      '"audiences" is missing: there is no postern validator, whose audience it would be, so expected what our tokens are for',
    )
}
