import type { HeaderNames, Policy } from '../core/policy.ts'
import { closeRoles, type RoleClosure } from '../core/roles.ts'
import { conflicts, type RouteEntry, RouteTable } from '../core/route-table.ts'
import { parseSpiffeId } from '../core/spiffe.ts'
import { edgeOf } from './compile-edge.ts'
import { ownershipRules } from './compile-ownership.ts'
import { placesOf, strippedOf } from './compile-places.ts'
import { compileRoute } from './compile-route.ts'
import { Conditions } from './conditions.ts'
import type { Draft } from './draft.ts'
import { pathText, type Report } from './faults.ts'
import type { Settings } from './schema.ts'
import { Shared } from './shared.ts'
import type { Turns } from './turns.ts'

/** Compiles roles and routes of a draft, and reports all that is wrong with them. */
export async function compileRoutes(draft: Draft, turns: Turns, report: Report): Promise<RouteEntry[]> {
  const context = { draft, closure: closure(draft, report), conditions: new Conditions(), shared: new Shared() }
  const ids = new Set<string>()
  const places = new Map<RouteEntry, number>()
  for (const [i, route] of draft.routes.entries()) {
    if (turns.due) await turns.next()
    if (!route) continue
    if (ids.has(route.id)) report(['routes', i, 'id'], `the id "${route.id}" occurs twice: expected each route to have its own`)
    ids.add(route.id)
    const entry = compileRoute(route, i, context, report)
    if (entry) places.set(entry, i)
  }
  const entries = [...places.keys()]
  // A route whose host or methods were left out would match too much.
  const unsure = new Set<string>()
  for (const broken of draft.broken) {
    const [, route] = /^(routes\[\d+\])\.(?:host$|methods)/.exec(broken) ?? []
    if (route !== undefined) unsure.add(route)
  }
  const whole = unsure.size === 0 ? entries : entries.filter((entry) => !unsure.has(pathText(['routes', places.get(entry) ?? 0])))
  if (turns.due) await turns.next()
  const told = new Set<RouteEntry>()
  for (const [later, earlier, method] of conflicts(whole)) {
    if (told.has(later)) continue
    told.add(later)
    const twice = later === earlier
    const index = places.get(later) ?? 0
    if (twice) report(['routes', index, 'methods'], `${method} occurs twice: expected each method once`)
    else
      report(
        ['routes', index, 'path'],
        `${method} ${draft.routes[index]?.path} is matched equally by "${earlier.route.id}" (${pathText(['routes', places.get(earlier) ?? 0])}): expected different hosts, methods or paths`,
      )
  }
  return entries
}

function closure(draft: Draft, report: Report): RoleClosure {
  const inherits = inheritsOf(draft.sections)
  for (const [role, parents] of inherits) {
    for (const [i, parent] of parents.entries())
      if (!draft.named.roles.has(parent))
        report(['roles', role, 'inherits', i], `there is no role "${parent}": expected one of those under roles`)
  }
  const closed = closeRoles(inherits)
  if (!('cycle' in closed)) return closed
  const { cycle } = closed
  report(['roles', cycle[0] ?? '', 'inherits'], `roles inherit each other in a circle: ${cycle.join(' → ')}`)
  return closeRoles(new Map([...inherits.keys()].map((role) => [role, []]))) as RoleClosure
}

const inheritsOf = ({ roles }: Pick<Settings, 'roles'>): ReadonlyMap<string, readonly string[]> =>
  new Map(Object.entries(roles).map(([role, { inherits }]) => [role, inherits]))

/**
 * The policy of the check path.
 * @param revision first 12 hex digits of the SHA-256 of what the settings were read from
 */
export function compilePolicy(settings: Settings, entries: readonly RouteEntry[], revision: string): Policy {
  const trustDomains = new Set<string>()
  for (const entry of settings.identity) {
    if (entry.type === 'mtls') trustDomains.add(entry.trust_domain)
    if (entry.type === 'edge-trust') for (const id of entry.from ?? []) trustDomains.add(parseSpiffeId(id)?.trustDomain ?? '')
  }
  for (const { route } of entries) for (const id of route.workloads ?? []) trustDomains.add(parseSpiffeId(id)?.trustDomain ?? '')
  const edges = settings.identity.flatMap((entry) => (entry.type === 'edge-trust' ? [edgeOf(entry)] : []))
  return {
    realm: settings.realm,
    revision,
    routes: new RouteTable(entries),
    preflight: settings.cors.preflight,
    headers: headerNames(settings.headers.prefix, entries),
    denials: {
      detail: settings.denials.detail,
      realm: settings.denials.realm,
      // As a header can hold it: hosts and paths beyond ASCII are encoded.
      resourceMetadata: settings.denials.resource_metadata === null ? undefined : new URL(settings.denials.resource_metadata).href,
      proofAlgorithms: settings.dpop.algorithms.join(' '),
    },
    trustDomains,
    metadataKeys: settings.identity.flatMap((entry) =>
      entry.type === 'oidc' && entry.verified_by === 'envoy' ? [entry.metadata_key ?? entry.name] : [],
    ),
    places: placesOf(settings),
    edges,
    basics: settings.identity.flatMap((entry) => (entry.type === 'basic' ? [entry.name] : [])),
    stripped: strippedOf(settings),
    ownerLabel: settings.ownership.label,
    ownership: ownershipRules(settings, closeRoles(inheritsOf(settings)) as RoleClosure),
    subjectsOf: new Map(Object.entries(settings.sources).map(([name, source]) => [name, source.subjects_of])),
  }
}

function headerNames(prefix: string, entries: readonly RouteEntry[]): HeaderNames {
  const names = {
    subject: `${prefix}subject`,
    issuer: `${prefix}issuer`,
    roles: `${prefix}roles`,
    workload: `${prefix}workload`,
    decision: `${prefix}decision`,
    owner: `${prefix}owner`,
  }
  const claims = entries.flatMap(({ route }) => route.claims.map(({ header }) => header))
  return { prefix, ...names, fixed: [...new Set([...Object.values(names), ...claims])] }
}
