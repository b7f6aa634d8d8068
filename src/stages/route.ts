import type { Stage } from '../check/stage.ts'
import { type Normalized, type Routed, routed } from '../core/facts.ts'
import type { TemplateSegment } from '../core/path-template.ts'
import { type Deny, deny } from '../core/reasons.ts'
import { type PathMatch, paramsOf, type RouteEntry } from '../core/route-table.ts'

/** Finds the route. Denies by default: `no_route`; `bad_request` for `%2f` where it may not stand. */
export const route: Stage<Normalized, Routed> = {
  name: 'route',
  run: (state) => {
    const { policy, request, target } = state
    const realm = request.extension('realm')
    if (realm !== undefined && realm !== policy.realm) return deny('no_route', 'the realm named by Envoy is not served here')
    const match = policy.routes.find(target.host, target.segments, target.escaped)
    if (match === 'ambiguous') return deny('bad_request', 'an escape in the place of a segment that a route names')
    if (!match)
      return target.encodedSlash ? deny('bad_request', '"%2f" in a path that no route takes') : deny('no_route', 'no path matches')
    // What these two would open is no request for a resource; no route can list them.
    if (target.method === 'TRACE' || target.method === 'CONNECT') return deny('no_route', `${target.method} is never routed`)
    const entry = match.methods.get(target.method)
    if (!entry) return preflightOr(state, match)
    if (target.encodedSlash && !slashesOnlyInParams(entry, target.path)) {
      return deny('bad_request', entry.route.encodedSlash ? '"%2f" outside a parameter' : '"%2f" where the route does not allow it')
    }
    return routed(state, entry.route, paramsOf(entry, match.captured), entry.route.public)
  },
}

/** A CORS preflight (Fetch standard, section 4.8) on a known path passes where the policy says so. */
function preflightOr(state: Normalized, match: PathMatch): Routed | Deny {
  const { policy, request, target } = state
  const wanted = request.header('access-control-request-method')
  if (target.method === 'OPTIONS' && policy.preflight === 'allow' && request.header('origin') !== undefined && wanted !== undefined) {
    const entry = match.methods.get(wanted)
    if (entry && !target.encodedSlash) return routed(state, entry.route, paramsOf(entry, match.captured), true)
  }
  return deny('no_route', 'the path has no route for this method')
}

function slashesOnlyInParams(entry: RouteEntry, path: string): boolean {
  if (!entry.route.encodedSlash) return false
  return path
    .slice(1)
    .split('/')
    .every((raw, i) => !/%2f/i.test(raw) || isParam(entry.segments[i]))
}

const isParam = (segment: TemplateSegment | undefined): boolean => segment?.kind === 'param'
