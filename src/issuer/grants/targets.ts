import type { TokenKind } from '../../core/issuer.ts'
import type { GrantRequest } from '../grants.ts'
import { many } from './params.ts'
import { type Refusal, refuse } from './refusal.ts'

/** What a token is to be for. */
export interface Targets {
  readonly audiences: readonly [string, ...string[]]
  readonly kind: Extract<TokenKind, 'edge' | 'upstream'>
}

/** Targets in one request. */
const most = 16

/** `absolute-URI` of RFC 3986, section 4.3: with a scheme, without a fragment. */
const absoluteUri = /^[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9\-._~:/?[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+$/

const notAllowed = (description: string): Refusal => refuse('invalid_target', 'audience_not_allowed', description)

/**
 * The targets that a request names by `audience` (RFC 8693, section 2.1) and `resource` (RFC 8707, section 2): both are names
 * of audiences, compared to the letter. Each must be on every list. Without any it is the first that all lists have.
 * @param edges audiences that are credentials at the edge. A token is for the edge or for upstreams, never for both: an upstream
 *   could use it at the edge
 */
export function targetsOf(
  params: GrantRequest['params'],
  lists: readonly (readonly string[])[],
  edges: { readonly has: (audience: string) => boolean },
): Targets | Refusal {
  const resources = many(params, 'resource')
  if (!resources.every((uri) => absoluteUri.test(uri))) return notAllowed('resource is no absolute URI without a fragment')
  const asked = [...new Set([...many(params, 'audience'), ...resources])]
  if (asked.length > most) return notAllowed(`more than ${most} targets`)
  const allowed = (audience: string): boolean => lists.every((list) => list.includes(audience))
  const [first, ...more] = asked.length > 0 ? asked : (lists[0]?.filter(allowed).slice(0, 1) ?? [])
  if (first === undefined || ![first, ...more].every(allowed)) return notAllowed('no token is issued for this target')
  const edge = edges.has(first)
  if (more.some((audience) => edges.has(audience) !== edge)) return notAllowed('one token is not issued for the edge and an upstream')
  return { audiences: [first, ...more], kind: edge ? 'edge' : 'upstream' }
}
