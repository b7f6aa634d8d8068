import { parsePointer } from '../core/json-pointer.ts'
import { managementPlane, operatorNamespace } from '../core/management-plane.ts'
import { defaultIdPattern } from '../core/ownership.ts'
import type { OwnershipRules } from '../core/policy.ts'
import { givers, type RoleClosure } from '../core/roles.ts'
import type { Capture, IdPattern, ListDemand, ListFilter, OwnerDemand, ResponsePlace, Route } from '../core/route.ts'
import { checkOwner, isBroken, type OwnerSettings, ownerForm } from './check-owner.ts'
import { type Path, pathText, type Report } from './faults.ts'
import { idSource } from './id-source.ts'
import { linearPattern } from './linear-pattern.ts'
import { networksAllow, parseNetwork } from './networks.ts'
import type { RouteContext } from './route-context.ts'
import type { Settings } from './schema.ts'
import type { RouteSettings } from './schema-routes.ts'

/** What a route says of owners. */
export type OwnerRules = Pick<Route, 'owner' | 'capture' | 'list'>

const none: OwnerRules = { owner: undefined, capture: undefined, list: undefined }

/**
 * Compiles `owner` of a route, and reports all that is wrong with it.
 * @param params of the path; undefined where it is no template
 */
export function ownerRules(
  route: RouteSettings,
  path: Path,
  params: readonly string[] | undefined,
  context: RouteContext,
  report: Report,
): OwnerRules {
  const { owner } = route
  if (!owner) return none
  const at = [...path, 'owner']
  // Of what was left out, as it was wrong, no more is told.
  if (owner.resource === undefined && owner.id === undefined && !owner.list && !owner.capture && isBroken(context.draft, pathText(at)))
    return none
  checkOwner(route, owner, at, context.draft, report)
  const pattern = patternOf(owner, at, context, report)
  switch (ownerForm(owner)) {
    case 'resource':
      return { ...none, owner: demandOf(owner, at, params, pattern, context, report) }
    case 'list':
      return { ...none, list: listOf(owner, pattern, context) }
    case 'capture':
      return { ...none, capture: captureOf(owner, pattern, context) }
    default:
      return none
  }
}

function patternOf({ id_pattern }: OwnerSettings, at: Path, { shared }: RouteContext, report: Report): IdPattern {
  if (id_pattern === undefined) return defaultIdPattern
  const pattern = shared.made('id_pattern', id_pattern, () => linearPattern(id_pattern))
  if (typeof pattern !== 'string') return shared.made('id_pattern test', id_pattern, () => ({ test: pattern.matchesWhole }))
  report([...at, 'id_pattern'], pattern)
  return defaultIdPattern
}

/** All presented roles that give one of these. */
const bypassOf = ({ bypass_roles = [] }: OwnerSettings, { closure, shared }: RouteContext): ReadonlySet<string> =>
  shared.set(bypass_roles.flatMap((role) => [...givers(closure, role)]))

function demandOf(
  owner: OwnerSettings,
  at: Path,
  params: readonly string[] | undefined,
  idPattern: IdPattern,
  context: RouteContext,
  report: Report,
): OwnerDemand | undefined {
  const { resource, id_pattern, source, bypass_roles = [], freshness, removes, direct } = owner
  for (const key of ['resource', 'id'] as const)
    if (owner[key] === undefined)
      report([...at, key], `"${key}" is missing: expected ${key === 'id' ? 'path:NAME, header:NAME or query:NAME' : 'a kind of resource'}`)
  const id = owner.id === undefined ? undefined : idSource(owner.id, params, context.draft.sections.headers.prefix)
  if (typeof id === 'string') report([...at, 'id'], id)
  if (resource === undefined || typeof id !== 'object') return undefined
  const like = [resource, id, id_pattern ?? null, owner.when_absent, source ?? null, bypass_roles, freshness, removes, direct]
  return context.shared.made('owner', like, () => ({
    resource,
    id,
    idPattern,
    whenAbsent: owner.when_absent,
    source,
    bypass: bypassOf(owner, context),
    strict: freshness === 'strict',
    removes,
    direct,
  }))
}

function listOf(owner: OwnerSettings, idPattern: IdPattern, context: RouteContext): ListDemand | undefined {
  const { list: resource, source, filter, bypass_roles = [], id_pattern } = owner
  if (resource === undefined) return undefined
  return context.shared.made('list', [resource, source ?? null, bypass_roles, filter ?? null, id_pattern ?? null], () => ({
    resource,
    source,
    bypass: bypassOf(owner, context),
    filter: filter && filterOf(filter, idPattern),
  }))
}

const filterOf = (filter: NonNullable<OwnerSettings['filter']>, idPattern: IdPattern): ListFilter => ({
  // The schema admits pointers alone.
  items: parsePointer(filter.items) ?? [],
  id: parsePointer(filter.id) ?? [],
  idPattern,
  maxItems: filter.max_items,
  maxBody: filter.max_body,
})

function captureOf(owner: OwnerSettings, idPattern: IdPattern, context: RouteContext): Capture | undefined {
  const { capture, id_pattern } = owner
  if (!capture) return undefined
  return context.shared.made('capture', [capture, id_pattern ?? null], () => ({
    resource: capture.resource,
    ids: capture.id.map(responsePlace),
    idPattern,
    codes: new Set(capture.codes),
    maxBody: capture.max_body,
    endpoint: capture.endpoint === undefined ? undefined : responsePlace(capture.endpoint),
  }))
}

/** @param text as the schema admits it: response.location, response.header:NAME or response.body:/pointer */
function responsePlace(text: string): ResponsePlace {
  const [, from, name = ''] = /^response\.(location|header|body):?(.*)$/s.exec(text) ?? []
  if (from === 'header') return { from, name: name.toLowerCase() }
  if (from === 'body') return { from, pointer: parsePointer(name) ?? [] }
  return { from: 'location' }
}

/** `ownership` of a policy without faults. */
export function ownershipRules(settings: Settings, closure: RoleClosure): OwnershipRules {
  const { ownership, identity } = settings
  const { tenant, endpoint } = ownership
  const networks = (endpoint?.networks ?? []).map(parseNetwork).filter((network) => typeof network !== 'string')
  return {
    shared: ownership.shared_with ?? undefined,
    groupsClaim: ownership.groups_claim,
    tenant: tenant && {
      label: tenant.label,
      claim: tenant.claim,
      bypass: new Set(tenant.bypass_roles.flatMap((role) => [...givers(closure, role)])),
    },
    endpoint: endpoint && { label: endpoint.label, allows: networksAllow(networks) },
    given: (roles) => new Set(roles.flatMap((role) => [role, ...(closure.get(role) ?? [])])),
    namespaces: new Map([
      [managementPlane, operatorNamespace],
      ...identity.map((entry) => [entry.name, 'subject_namespace' in entry ? (entry.subject_namespace ?? '') : ''] as const),
    ]),
  }
}
