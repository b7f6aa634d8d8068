import { tokenParameter } from './credential.ts'
import type { Mutations } from './decision.ts'
import { type Facts, noHeaders } from './facts.ts'
import { at, isJsonObject, type Json } from './json.ts'
import { percentEncode, percentEncodeList } from './percent.ts'
import type { Principal } from './principal.ts'
import type { Request } from './request.ts'
import type { ClaimHeader } from './route.ts'

/** Bytes of all claim headers of one request together, names included; more is `claims_too_large`. */
const maxClaimBytes = 4096

// A client that sets this itself could make an upstream believe that the authorizer had failed.
const alwaysRemoved = 'x-envoy-auth-failure-mode-allowed'

/**
 * The value of a claim as a header: text percent-encoded, lists joined with commas, objects as base64url
 * JSON, numbers and booleans as JSON.
 * @returns undefined where the principal has no such claim
 */
function claimValue(claim: Json | undefined): string | undefined {
  if (claim === undefined || claim === null) return undefined
  if (typeof claim === 'string') return percentEncode(claim)
  if (Array.isArray(claim)) {
    return claim.map((item: Json) => (typeof item === 'string' ? percentEncode(item) : (claimValue(item) ?? ''))).join(',')
  }
  return isJsonObject(claim) ? Buffer.from(JSON.stringify(claim)).toString('base64url') : String(claim)
}

/** Names, in lower case, of the inbound headers that an upstream could take for ours: `-` and `_` read alike. */
function lookAlikes(request: Request, prefix: string, set: ReadonlyMap<string, string>): string[] {
  const found: string[] = []
  for (const name of request.headerNames()) {
    if (name.length < prefix.length || set.has(name)) continue
    const alike = name.includes('_') ? name.replaceAll('_', '-') : name
    if (alike.startsWith(prefix)) found.push(name)
    else if (name !== alike && (alike === alwaysRemoved || alike === 'authorization')) found.push(name)
  }
  return found
}

/** Query parameters that carry a bearer token: Envoy's jwt_authn reads `access_token` by default, and leaves it in. */
function credentialParameters(facts: Facts): readonly string[] {
  // Named only where it is there: Envoy writes the whole query anew otherwise too.
  return facts.policy.metadataKeys.length > 0 && facts.target && tokenParameter(facts.target.query) !== 'none' ? ['access_token'] : []
}

function finish(facts: Facts, set: Map<string, string>): Mutations {
  const { headers } = facts.policy
  set.set(headers.decision, facts.decisionId)
  const keepsAuthorization = facts.route?.authorization === 'keep'
  const remove: string[] = []
  for (const name of headers.fixed) if (!set.has(name)) remove.push(name)
  if (!keepsAuthorization && !set.has('authorization')) remove.push('authorization')
  remove.push(alwaysRemoved)
  for (const name of lookAlikes(facts.request, headers.prefix, set)) if (!remove.includes(name)) remove.push(name)
  return { set, remove, removeQuery: keepsAuthorization ? [] : credentialParameters(facts) }
}

/** Public routes and preflights: no identity goes on, and none that the client made up either. */
export const anonymous = (facts: Facts): Mutations => finish(facts, new Map())

/** What a request that `enforce: false` lets through carries: nothing but the decision's id. */
export const unenforced = anonymous

/**
 * The claims that a route hands on.
 * @returns undefined where they are larger together than {@link maxClaimBytes}
 */
export function claimHeaders(claims: readonly ClaimHeader[], principal: Principal): ReadonlyMap<string, string> | undefined {
  if (claims.length === 0) return noHeaders
  const set = new Map<string, string>()
  let bytes = 0
  for (const { claim, header } of claims) {
    const value = claimValue(at(principal.claims, claim))
    if (value === undefined) continue
    bytes += header.length + value.length
    if (bytes > maxClaimBytes) return undefined
    set.set(header, value)
  }
  return set
}

/** Identity headers of a principal, and the downstream token. */
export function identity(facts: Facts, principal: Principal): Mutations {
  const { headers } = facts.policy
  const set = new Map(facts.claimHeaders)
  if (facts.downstreamToken !== undefined) set.set('authorization', `Bearer ${facts.downstreamToken}`)
  set.set(headers.subject, percentEncode(principal.subject))
  set.set(headers.issuer, percentEncode(principal.issuer))
  set.set(headers.roles, percentEncodeList(principal.roles))
  if (facts.workload) set.set(headers.workload, percentEncode(facts.workload.id))
  return finish(facts, set)
}
