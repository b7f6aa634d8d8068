import type { Facts } from './facts.ts'
import { type Deny, httpStatus, title } from './reasons.ts'
import { fillScope } from './scopes.ts'

/** A denial's form for the client that asked: a gRPC client gets its body as `grpc-message`, HEAD gets none. */
const form = (facts: Facts): 'problem' | 'text' | 'none' => {
  if (facts.request.method === 'HEAD') return 'none'
  return facts.request.header('content-type')?.startsWith('application/grpc') ? 'text' : 'problem'
}

/** RFC 9457 problem details, and no more than `reason` and `decision_id` beside the standard members. */
export function problemBody(denial: Deny, facts: Facts): string {
  const { detail: tellDetail } = facts.policy.denials
  switch (form(facts)) {
    case 'none':
      return ''
    case 'text':
      return `${title[denial.reason]} (${denial.reason}, decision ${facts.decisionId})`
    case 'problem':
      return JSON.stringify({
        type: `urn:postern:denial:${denial.reason}`,
        title: title[denial.reason],
        status: httpStatus[denial.reason],
        ...(tellDetail ? { detail: denial.detail } : {}),
        reason: denial.reason,
        decision_id: facts.decisionId,
      })
  }
}

/** Headers of a denial, lower case: the decision id, no-store, the type of the body, and a challenge where one belongs (RFC 6750, section 3). */
export function problemHeaders(denial: Deny, facts: Facts): [string, string][] {
  const headers: [string, string][] = [
    [facts.policy.headers.decision, facts.decisionId],
    ['cache-control', 'no-store'],
  ]
  if (form(facts) === 'problem') headers.push(['content-type', 'application/problem+json'])
  if (form(facts) === 'text') headers.push(['content-type', 'text/plain; charset=utf-8'])
  const challenge = wwwAuthenticate(denial, facts)
  if (challenge) headers.push(['www-authenticate', challenge])
  return headers
}

const quoted = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&')}"`

/** RFC 6750, section 3; `resource_metadata` is RFC 9728, section 5.1. A request without a credential is told no error. */
function wwwAuthenticate(denial: Deny, facts: Facts): string | undefined {
  const { realm, resourceMetadata } = facts.policy.denials
  const parts = [`Bearer realm=${quoted(realm)}`]
  if (denial.reason === 'missing_scope') {
    parts.push('error="insufficient_scope"')
    const wanted = facts.route?.scopes?.names.map((name) => fillScope(name, facts.params ?? new Map())) ?? []
    if (wanted.every((scope) => /^[!#-[\]-~]+$/.test(scope))) parts.push(`scope=${quoted(wanted.join(' '))}`)
  } else if (httpStatus[denial.reason] !== 401) return undefined
  else if (denial.reason === 'conflicting_credentials') parts.push('error="invalid_request"')
  else if (denial.reason !== 'no_credential') parts.push('error="invalid_token"')
  if (resourceMetadata !== undefined) parts.push(`resource_metadata=${quoted(resourceMetadata)}`)
  return parts.join(', ')
}
