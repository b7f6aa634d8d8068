import { managementPlane } from '../core/management-plane.ts'
import { parseTemplate, templateParams } from '../core/path-template.ts'
import { demandRoles, type RoleDemand } from '../core/roles.ts'
import type { ClaimHeader, Condition, Downstream } from '../core/route.ts'
import type { RouteEntry } from '../core/route-table.ts'
import type { ScopeDemand } from '../core/scopes.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import { checkRoles } from './check-identity.ts'
import { ownerRules } from './compile-ownership.ts'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import { listParams } from './id-source.ts'
import type { RouteContext } from './route-context.ts'
import { isHeaderName, type RouteSettings } from './schema-routes.ts'

/**
 * Turns one route of the file into the typed rule of the check path, and reports all that is wrong with it.
 * @returns undefined where the path is no template; with other faults, a rule that must not be used
 */
export function compileRoute(route: RouteSettings, index: number, context: RouteContext, report: Report): RouteEntry | undefined {
  const path: Path = ['routes', index]
  const { draft, shared } = context
  const segments = parseTemplate(route.path)
  if (typeof segments === 'string') report([...path, 'path'], segments)
  const params = typeof segments === 'string' ? undefined : templateParams(segments)
  if (route.public) checkPublic(route, path, report)
  for (const [i, name] of (route.identity ?? []).entries())
    if (!draft.named.validators.has(name) && name !== managementPlane)
      report([...path, 'identity', i], `there is no validator "${name}": expected a name of those under identity`)
  for (const [i, id] of (route.workload ?? []).entries())
    if (!parseSpiffeId(id)) report([...path, 'workload', i], `"${id}" is no SPIFFE ID: expected spiffe://<trust domain>/<path>`)
  if (route.authorization === 'keep' && route.downstream)
    report(
      [...path, 'authorization'],
      'Authorization cannot be kept and be replaced by a downstream token: expected one of authorization: keep and downstream',
    )
  const rule = {
    id: route.id,
    public: route.public,
    enforce: route.enforce,
    authorization: route.authorization,
    validators: route.identity && shared.set(route.identity),
    workloads: route.workload && shared.set(route.workload),
    binding: route.binding,
    roles: rolesOf(route, path, context, report),
    scopes: scopesOf(route, path, params, context, report),
    condition: conditionOf(route, path, context, report),
    ...ownerRules(route, path, params, context, report),
    downstream: shared.one('downstream', downstreamOf(route, path, draft, report)),
    claims: shared.one('claims', claimsOf(route, path, draft.sections.headers.prefix, report)),
    audit: route.audit ?? draft.sections.audit.decisions,
    encodedSlash: route.encoded_slash,
  }
  if (typeof segments === 'string') return undefined
  const methods = shared.one('methods', route.methods)
  return { route: rule, host: route.host, methods, segments: segments.map((segment) => shared.one('segment', segment)) }
}

const asksForSomebody = ['identity', 'workload', 'roles', 'scopes', 'when', 'owner', 'downstream', 'claims'] as const

function checkPublic(route: RouteSettings, path: Path, report: Report): void {
  for (const key of asksForSomebody)
    if (route[key] !== undefined)
      report([...path, key], `a public route asks for nobody: expected no "${key}", or no "public: true"`, { at: 'key' })
  if (route.binding !== 'none')
    report([...path, 'binding'], 'a public route asks for nobody: expected "binding: none", or no "public: true"')
}

function rolesOf(route: RouteSettings, path: Path, { draft, closure, shared }: RouteContext, report: Report): RoleDemand | undefined {
  if (!route.roles) return undefined
  const all = !Array.isArray(route.roles)
  const names = Array.isArray(route.roles) ? route.roles : route.roles.all
  checkRoles(names, [...path, 'roles', ...(all ? ['all'] : [])], draft, report)
  const mode = all ? 'all' : 'any'
  return shared.made('roles', [mode, names], () => demandRoles(closure, mode, names))
}

function scopesOf(
  route: RouteSettings,
  path: Path,
  params: readonly string[] | undefined,
  { shared }: RouteContext,
  report: Report,
): ScopeDemand | undefined {
  if (!route.scopes) return undefined
  const all = !Array.isArray(route.scopes)
  const names = Array.isArray(route.scopes) ? route.scopes : route.scopes.all
  for (const [i, scope] of names.entries()) {
    const at = [...path, 'scopes', ...(all ? ['all'] : []), i]
    if (/[\s"\\]/.test(scope)) report(at, 'expected a scope without white space, quotes and backslashes (RFC 6749, section 3.3)')
    for (const [, name = ''] of scope.matchAll(/\{([^}]*)\}/g))
      if (params && !params.includes(name)) report(at, `the path has no parameter "{${name}}": expected ${listParams(params)}`)
  }
  return shared.one('scopes', { mode: all ? 'all' : 'any', names })
}

function conditionOf(route: RouteSettings, path: Path, { conditions }: RouteContext, report: Report): Condition | undefined {
  if (route.when === undefined) return undefined
  const compiled = conditions.compile(route.when)
  if ('holds' in compiled) return compiled
  report([...path, 'when'], compiled.message, { offset: compiled.offset })
  return undefined
}

function downstreamOf(route: RouteSettings, path: Path, draft: Draft, report: Report): Downstream | undefined {
  const { downstream } = route
  if (!downstream) return undefined
  const at = [...path, 'downstream']
  const { audience, scope, via, sts } = downstream
  const ttl = Math.floor(downstream.ttl / 1000)
  if (via === 'issuer') {
    if (sts !== undefined) report([...at, 'sts'], `"sts" does nothing with via: issuer: expected via: sts`, { at: 'key' })
    if (!draft.named.issuer) report(at, 'downstream tokens via: issuer need listen.issuer: without it nothing is minted', { at: 'key' })
    return { audience, scope, ttl, via }
  }
  if (sts === undefined) report([...at, 'sts'], '"sts" is missing: expected a name of those under sts, as via is sts')
  else if (!draft.named.sts.has(sts)) report([...at, 'sts'], `there is no token endpoint "${sts}": expected a name of those under sts`)
  else checkSubjects(sts, route, at, draft, report)
  return { audience, scope, ttl, via: { sts: sts ?? '' } }
}

/** What is exchanged is the token itself: it must come from an oidc validator, and reach Postern. */
function checkSubjects(sts: string, route: RouteSettings, at: Path, draft: Draft, report: Report): void {
  const name = draft.sections.sts[sts]?.subjects_of
  const entry = draft.identity.find((one) => one?.name === name)
  if (name === undefined || entry?.type !== 'oidc') return
  if (entry.verified_by === 'envoy' && !entry.forward)
    report(
      [...at, 'via'],
      `via: sts exchanges the token itself: expected forward: true on the validator "${name}", and in Envoy's provider`,
    )
  if (route.identity && !route.identity.includes(name))
    report([...at, 'sts'], `"${sts}" exchanges tokens of "${name}" alone: expected that validator in the route's identity`)
}

function claimsOf(route: RouteSettings, path: Path, prefix: string, report: Report): ClaimHeader[] {
  const seen = new Set<string>()
  return (route.claims ?? []).map((claim, i) => {
    const header = `${prefix}claim-${claim.toLowerCase()}`
    if (!isHeaderName(header)) report([...path, 'claims', i], `"${claim}" makes no header name: expected letters, digits, "-", "_" and "."`)
    if (seen.has(header)) report([...path, 'claims', i], `"${claim}" makes the header ${header} a second time: expected each once`)
    seen.add(header)
    return { claim, header }
  })
}
