import type { Stage } from '../check/stage.ts'
import { tokenParameter } from '../core/credential.ts'
import { type Normalized, normalized, type Received } from '../core/facts.ts'
import { type Deny, deny } from '../core/reasons.ts'
import type { Request, Target } from '../core/request.ts'
import { splitPath } from '../core/request-path.ts'

/** RFC 9110, section 5.6.2. */
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/
/** A host without port: a name, an IPv4 address, or an IPv6 address in brackets; before lower-casing, which makes ASCII letters of others. */
const hostName = /^(?:[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]{2,45}\])$/
const port = /:\d{1,5}$/
/** An element of `Authorization` after a comma that is a parameter of the first scheme, not a second credential. */
const authParam = /^[\t ]*[!#$%&'*+.^_`|~0-9A-Za-z-]+=(?:"[^"\\]*"|[!#$%&'*+.^_`|~0-9A-Za-z/=-]*)[\t ]*$/

/**
 * Refuses what two parsers could read differently, and makes the target that routes are matched on.
 * Denies `bad_request`.
 */
export const normalize: Stage<Received, Normalized> = {
  name: 'normalize',
  run: (state) => {
    const target = readTarget(state.request)
    if (!('segments' in target)) return target
    // Envoy's jwt_authn reads the parameter in any spelling, and strips it in the plain one only.
    const { metadataKeys, places } = state.policy
    if ((metadataKeys.length > 0 || places.query) && tokenParameter(target.query) === 'disguised') {
      return deny('bad_request', 'a token in the query, in a spelling that Envoy does not strip')
    }
    return normalized(state, target)
  },
}

function readTarget(request: Request): Target | Deny {
  if (!token.test(request.method)) return deny('bad_request', 'the method is not a token')
  const host = readHost(request)
  if (typeof host !== 'string') return host
  if (request.headerCount('authorization') > 1 || severalCredentials(request.header('authorization'))) {
    return deny('bad_request', 'more than one Authorization')
  }
  const path = splitPath(request.path)
  if (typeof path === 'string') return deny('bad_request', path)
  return { method: request.method, host, ...path }
}

/** Envoy joins two `Host` fields with a comma; none of the names that pass here holds one. */
function readHost(request: Request): string | Deny {
  if (request.headerCount('host') > 1) return deny('bad_request', 'more than one Host')
  if (request.host === '') return ''
  let { host } = request
  if (host.includes(':')) host = host.replace(port, '')
  // Envoy takes one trailing dot away itself (strip_trailing_host_dot); a name that still ends in one is none of its virtual hosts.
  if (host.endsWith('.')) return deny('bad_request', 'the host ends in a dot')
  return hostName.test(host) ? host.toLowerCase() : deny('bad_request', 'the host is neither a name nor an address')
}

/** Whether a comma-joined value holds more than one credential: schemes whose credential is a token68 never hold a comma. */
function severalCredentials(value: string | undefined): boolean {
  if (value === undefined || !value.includes(',')) return false
  const [first = '', ...rest] = value.split(',')
  const space = first.trimStart().indexOf(' ')
  return space < 0 || !authParam.test(first.trimStart().slice(space + 1)) || !rest.every((element) => authParam.test(element))
}
