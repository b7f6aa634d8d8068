import { parseSpiffeId } from '../core/spiffe.ts'
import { endpointFault } from './check-listen.ts'
import { checkValidator } from './check-validators.ts'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import type { MtlsSettings, ValidatorSettings } from './schema-identity.ts'
import type { OidcSettings } from './schema-oidc.ts'

/** A certificate's subject is a SPIFFE ID, and basic hands on to others: the rest give subjects of their own. */
const givesSubjects = (entry: ValidatorSettings): entry is Exclude<ValidatorSettings, { type: 'mtls' | 'basic' }> =>
  entry.type !== 'mtls' && entry.type !== 'basic'

/** Checks the validators, one by one and against each other. */
export function checkIdentity(draft: Draft, report: Report): void {
  const names = new Map<string, number>()
  const metadataKeys = new Map<string, string>()
  for (const [i, entry] of draft.identity.entries()) {
    if (!entry) continue
    const path = ['identity', i]
    if (names.has(entry.name)) report([...path, 'name'], `the name "${entry.name}" occurs twice: expected each validator to have its own`)
    names.set(entry.name, i)
    if (entry.type === 'oidc') checkOidc(entry, path, metadataKeys, report)
    if (entry.type === 'mtls') checkMtls(entry, path, draft, report)
    if (entry.type === 'postern' && !draft.named.issuer)
      report([...path, 'type'], 'tokens of our own issuer need listen.issuer: without it nothing is minted')
    checkValidator(entry, path, draft, report)
    if ('may_assert' in entry) checkRoles(entry.may_assert ?? [], [...path, 'may_assert'], draft, report)
  }
  if (draft.routes.some((route) => route?.owner)) checkNamespaces(draft, report)
}

/** Reports the roles that the policy does not have. */
export function checkRoles(roles: readonly string[], path: Path, draft: Draft, report: Report): void {
  for (const [i, role] of roles.entries())
    if (!draft.named.roles.has(role)) report([...path, i], `there is no role "${role}": expected one of those under roles`)
}

function checkOidc(entry: OidcSettings, path: Path, metadataKeys: Map<string, string>, report: Report): void {
  const fault = endpointFault(entry.issuer)
  if (fault) report([...path, 'issuer'], fault)
  if (entry.claims.role !== undefined && entry.claims.roles !== undefined)
    report([...path, 'claims', 'role'], 'both role and roles are given: expected one of them', { at: 'key' })
  const { jwks, introspection } = entry
  const uriFault = jwks.uri === undefined ? undefined : endpointFault(jwks.uri)
  if (uriFault) report([...path, 'jwks', 'uri'], uriFault)
  const endpointWrong = introspection?.endpoint === undefined ? undefined : endpointFault(introspection.endpoint)
  if (endpointWrong) report([...path, 'introspection', 'endpoint'], endpointWrong)
  if (introspection?.tokens === 'all' && entry.verified_by === 'envoy')
    report(
      [...path, 'introspection', 'tokens'],
      'JWTs are verified by Envoy here, and nobody is asked about them: write opaque, or verified_by: postern',
    )
  if (entry.verified_by !== 'envoy') return
  const key = entry.metadata_key ?? entry.name
  const other = metadataKeys.get(key)
  if (other !== undefined)
    report([...path, 'metadata_key'], `the metadata key "${key}" is that of "${other}" too: expected each validator to have its own`)
  metadataKeys.set(key, entry.name)
}

function checkMtls(entry: MtlsSettings, path: Path, draft: Draft, report: Report): void {
  if (!parseSpiffeId(`spiffe://${entry.trust_domain}/x`))
    report([...path, 'trust_domain'], `"${entry.trust_domain}" is no trust domain: expected lower-case letters, digits, ".", "_" and "-"`)
  for (const [id, roles] of Object.entries(entry.roles)) {
    const workload = parseSpiffeId(id)
    if (!workload) report([...path, 'roles', id], `"${id}" is no SPIFFE ID: expected spiffe://<trust domain>/<path>`, { at: 'key' })
    else if (workload.trustDomain !== entry.trust_domain)
      report([...path, 'roles', id], `"${id}" lies outside the trust domain "${entry.trust_domain}"`, { at: 'key' })
    checkRoles(roles, [...path, 'roles', id], draft, report)
  }
}

/** The same subject from two validators is two people: where owners are compared, each has a namespace. */
function checkNamespaces(draft: Draft, report: Report): void {
  const givers = [...draft.identity.entries()].flatMap(([i, entry]) => (entry && givesSubjects(entry) ? [{ i, entry }] : []))
  if (givers.length < 2) return
  const stated: { readonly name: string; readonly prefix: string }[] = []
  for (const { i, entry } of givers) {
    const path = ['identity', i, 'subject_namespace']
    const prefix = entry.subject_namespace
    if (prefix === undefined) {
      report(
        path,
        '"subject_namespace" is missing: routes check owners and several validators give subjects, so expected a prefix for each, or "" for exactly one',
      )
      continue
    }
    const other = stated.find((one) =>
      prefix === '' || one.prefix === '' ? prefix === one.prefix : prefix.startsWith(one.prefix) || one.prefix.startsWith(prefix),
    )
    if (other)
      report(
        path,
        `subjects of "${entry.name}" and "${other.name}" could be the same: expected a prefix that none of the others begins with, or "" for exactly one`,
      )
    stated.push({ name: entry.name, prefix })
  }
}
