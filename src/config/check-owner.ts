import { checkRoles } from './check-identity.ts'
import type { Draft } from './draft.ts'
import type { Path, Report } from './faults.ts'
import { parseNetwork } from './networks.ts'
import type { RouteSettings } from './schema-routes.ts'

export type OwnerSettings = NonNullable<RouteSettings['owner']>

/** RFC 9110, section 9.2.1: such a request neither makes nor removes anything. */
const safe = new Set(['GET', 'HEAD', 'OPTIONS'])

type Form = 'resource' | 'list' | 'capture'

/** Which of the three things `owner` says; undefined where it says more than one. */
export function ownerForm(owner: OwnerSettings): Form | undefined {
  const said = [
    owner.resource !== undefined || owner.id !== undefined ? ('resource' as const) : undefined,
    owner.list !== undefined ? ('list' as const) : undefined,
    owner.capture !== undefined ? ('capture' as const) : undefined,
  ].filter((form) => form !== undefined)
  return said.length > 1 ? undefined : (said[0] ?? 'resource')
}

/** Reports what in `owner` of a route does not go together. */
export function checkOwner(route: RouteSettings, owner: OwnerSettings, at: Path, draft: Draft, report: Report): void {
  const form = ownerForm(owner)
  if (form === undefined) report(at, 'expected one of resource with id, list, and capture', { at: 'key' })
  checkRoles(owner.bypass_roles ?? [], [...at, 'bypass_roles'], draft, report)
  if (owner.source !== undefined && !draft.named.sources.has(owner.source))
    report([...at, 'source'], `there is no source "${owner.source}": expected a name of those under sources`)
  if (form === undefined) return
  checkForm(owner, form, at, report)
  checkResponses(route, owner, form, at, draft, report)
  if (owner.source !== undefined) checkSource(owner, at, draft, report)
  if (owner.direct && form === 'resource') checkDirect(route, owner, at, draft, report)
}

function checkForm(owner: OwnerSettings, form: Form, at: Path, report: Report): void {
  const only = (key: keyof OwnerSettings, said: boolean, forms: readonly string[], with_: string): void => {
    if (said && !forms.includes(form)) report([...at, key], `"${key}" does nothing here: expected it with ${with_} alone`, { at: 'key' })
  }
  only('filter', owner.filter !== undefined, ['list'], 'list')
  for (const key of ['removes', 'direct'] as const) only(key, owner[key], ['resource'], 'resource and id')
  only('freshness', owner.freshness === 'strict', ['resource'], 'resource and id')
  only('when_absent', owner.when_absent === 'allow', ['resource'], 'resource and id')
  only('bypass_roles', owner.bypass_roles !== undefined, ['resource', 'list'], 'resource and id, or list,')
  if (form === 'list' && owner.id_pattern !== undefined && !owner.filter)
    report([...at, 'id_pattern'], '"id_pattern" does nothing here: expected it on a list with filter alone', { at: 'key' })
}

/** What ext_proc does: it needs its listener, and requests that make or remove something. */
function checkResponses(route: RouteSettings, owner: OwnerSettings, form: Form, at: Path, draft: Draft, report: Report): void {
  const missing = draft.sections.listen !== undefined && !draft.sections.listen.ext_proc && !isBroken(draft, 'listen.ext_proc')
  const asked = [
    ...(owner.capture ? (['capture'] as const) : []),
    ...(owner.removes && form === 'resource' ? (['removes'] as const) : []),
    ...(owner.filter && form === 'list' ? (['filter'] as const) : []),
  ]
  for (const key of asked) {
    if (missing) report([...at, key], `"${key}" needs listen.ext_proc: without it nobody looks at the response`, { at: 'key' })
    const method = key === 'filter' ? undefined : route.methods.find((one) => safe.has(one))
    if (method !== undefined)
      report(
        [...at, key],
        `${method} ${key === 'removes' ? 'removes' : 'makes'} nothing: expected a route of its own for ${key === 'removes' ? 'DELETE' : 'POST or PUT'}`,
        { at: 'key' },
      )
  }
}

/** Another store tells who owns a resource, and no more; and nothing is written there. */
function checkSource(owner: OwnerSettings, at: Path, { sections }: Draft, report: Report): void {
  const refuse = (why: string): void => report([...at, 'source'], `${why}: expected no source`, { at: 'key' })
  if (owner.capture) refuse("capture writes Postern's own labels")
  if (owner.removes) refuse("removes takes away Postern's own labels")
  if (owner.direct) refuse('a source tells owners alone, and no endpoints')
  if (sections.ownership.tenant) refuse('a source tells owners alone, and no tenants, which ownership.tenant demands')
}

function checkDirect(route: RouteSettings, owner: OwnerSettings, at: Path, draft: Draft, report: Report): void {
  if (!draft.sections.ownership.endpoint && !isBroken(draft, 'ownership.endpoint'))
    report([...at, 'direct'], '"direct" needs ownership.endpoint: expected the networks that endpoints may be in', { at: 'key' })
  if (owner.when_absent === 'allow')
    report([...at, 'when_absent'], 'a request without an id has no endpoint to go to: expected deny, as direct is true')
  if (!route.enforce)
    report([...at, 'direct'], 'a denied request that is let through has no endpoint to go to: expected enforce: true, or no "direct"', {
      at: 'key',
    })
}

/** Whether something at or under a place was wrong and left out. */
export const isBroken = ({ broken }: Draft, place: string): boolean =>
  [...broken].some((path) => path === place || path.startsWith(`${place}.`))

const labelName = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/

/** Checks `ownership`: names of labels, roles and networks. */
export function checkOwnership(draft: Draft, report: Report): void {
  const { label, shared_with, tenant, endpoint } = draft.sections.ownership
  const seen = new Map<string, string>()
  const named = [
    [['label'], label, 'agentcube.io/owner'],
    [['shared_with'], shared_with, 'agentcube.io/shared-with'],
    [['tenant', 'label'], tenant?.label, 'agentcube.io/tenant'],
    [['endpoint', 'label'], endpoint?.label, 'agentcube.io/endpoint'],
  ] as const
  for (const [place, name, example] of named) {
    if (name === undefined || name === null) continue
    const path = ['ownership', ...place]
    if (!labelName.test(name)) report(path, `expected the name of a Kubernetes label, such as ${example}`)
    const other = seen.get(name)
    if (other !== undefined) report(path, `"${name}" is ownership.${other} too: expected a label of its own`)
    else seen.set(name, place.join('.'))
  }
  if (tenant) checkRoles(tenant.bypass_roles, ['ownership', 'tenant', 'bypass_roles'], draft, report)
  for (const [i, text] of (endpoint?.networks ?? []).entries()) {
    const network = parseNetwork(text)
    if (typeof network === 'string') report(['ownership', 'endpoint', 'networks', i], network)
  }
}
