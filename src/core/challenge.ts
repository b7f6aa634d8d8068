import type { Facts } from './facts.ts'
import { perObject } from './per-object.ts'
import type { DenialSettings, Policy } from './policy.ts'
import { type Deny, httpStatus } from './reasons.ts'
import type { Route } from './route.ts'
import { fillScope } from './scopes.ts'

/**
 * What a denial asks for in the client's terms: `www-authenticate` (RFC 9110, section 11.6.1) on 401 and on a missing scope,
 * and `dpop-nonce` (RFC 9449, section 8) where one is handed out. Several challenges stand in one field: of several
 * fields of one name Envoy 1.40 keeps all or the first, as `append` says, and other versions the last.
 */
export function challengeHeaders(denial: Deny, facts: Facts): [string, string][] {
  const unauthorized = httpStatus[denial.reason] === 401
  if (!unauthorized && denial.reason !== 'missing_scope') return []
  const headers: [string, string][] = [['www-authenticate', unauthorized ? forCredential(denial, facts) : forToken(denial, facts)]]
  const { nonce } = denial.challenge ?? {}
  if (nonce !== undefined) headers.push(['dpop-nonce', nonce])
  return headers
}

/** Where some validator takes passwords, clients that know no other way to log in are asked for one (RFC 7617, section 2). */
function forCredential(denial: Deny, facts: Facts): string {
  const asks = facts.route === undefined ? 'no' : basicOf(facts.policy)(facts.route)
  if (asks === 'no' || denial.challenge !== undefined) return forToken(denial, facts)
  const { basic } = wordsOf(facts.policy.denials)
  if (asks === 'alone') return basic
  // Bearer first: there are clients that read the first challenge only, and they know tokens.
  return byScript(facts) ? forToken(denial, facts) : `${forToken(denial, facts)}, ${basic}`
}

/**
 * `alone` where the route itself names a `basic` validator: what comes there is made for passwords, and Docker gives up
 * on a Bearer challenge that names no token service. `too` where basic is one way among all.
 */
const basicOf = perObject((policy: Policy) =>
  perObject((route: Route): 'alone' | 'too' | 'no' => {
    const { basics } = policy
    if (basics.length === 0 || route.authorization === 'keep') return 'no'
    if (route.validators === undefined) return 'too'
    return basics.some((name) => route.validators?.has(name)) ? 'alone' : 'no'
  }),
)

/** A page's script, not its address bar (Fetch Metadata, section 2.2): a browser would ask its user for a password in the middle of it. */
function byScript({ request }: Facts): boolean {
  const mode = request.header('sec-fetch-mode')
  return mode !== undefined && mode !== 'navigate'
}

/**
 * RFC 6750, section 3, or RFC 9449, section 7.1, where a proof is demanded or was tried; `resource_metadata` is RFC 9728,
 * section 5.1. A request without a credential is told no error. The scopes of the route are named in any case, as
 * authorization of the Model Context Protocol wants it: a client asks for them, and for no more.
 */
function forToken(denial: Deny, facts: Facts): string {
  const words = wordsOf(facts.policy.denials)
  const error = denial.challenge?.error ?? errorOf(denial)
  const scope = scopeOf(facts)
  return (
    (demandsProof(denial, facts) ? words.proof : words.bearer) +
    (error === undefined ? '' : `, error="${error}"`) +
    (scope === '' ? '' : `, scope="${scope}"`) +
    words.metadata
  )
}

/** What stands in the challenges of a policy, whatever the denial. */
const wordsOf = perObject(({ realm, proofAlgorithms, resourceMetadata }: DenialSettings) => ({
  bearer: `Bearer realm=${quoted(realm)}`,
  proof: `DPoP realm=${quoted(realm)}, algs=${quoted(proofAlgorithms)}`,
  basic: `Basic realm=${quoted(realm)}, charset="UTF-8"`,
  metadata: resourceMetadata === undefined ? '' : `, resource_metadata=${quoted(resourceMetadata)}`,
}))

function demandsProof({ challenge }: Deny, { route, request }: Facts): boolean {
  if (challenge?.scheme === 'DPoP' || route?.binding === 'dpop') return true
  if (route?.authorization === 'keep') return false
  return request.header('authorization')?.slice(0, 5).toLowerCase() === 'dpop '
}

function errorOf({ reason }: Deny): string | undefined {
  if (reason === 'missing_scope') return 'insufficient_scope'
  if (reason === 'conflicting_credentials') return 'invalid_request'
  return reason === 'no_credential' ? undefined : 'invalid_token'
}

/** RFC 6749, section 3.3. A parameter of the path may have put anything into it. */
const scopeToken = /^[!#-[\]-~]+$/

/** All scopes that the route demands, so that one request for a token is enough; empty where they cannot be written. */
function scopeOf({ route, params }: Facts): string {
  if (route?.scopes === undefined || params === undefined) return ''
  const wanted = route.scopes.names.map((name) => fillScope(name, params))
  return wanted.every((scope) => scopeToken.test(scope)) ? wanted.join(' ') : ''
}

const quoted = (text: string): string => `"${text.replace(/[\\"]/g, '\\$&')}"`
