import { callerOf, listOwner } from './access.ts'
import type { BearerToken } from './bearer-token.ts'
import { tokenParameter } from './credential.ts'
import { type CredentialPlaces, protocolTokens, withoutCookies, withoutTokens } from './credential-places.ts'
import type { HeaderGroup, Mutations } from './decision.ts'
import { type Facts, noHeaders } from './facts.ts'
import { at, isJsonObject, type Json } from './json.ts'
import { principalTexts } from './metadata.ts'
import { perObject } from './per-object.ts'
import { percentEncode } from './percent.ts'
import type { HeaderNames, Policy } from './policy.ts'
import type { Principal } from './principal.ts'
import type { ClaimHeader } from './route.ts'

/** Bytes of all claim headers of one request together, names included; more is `claims_too_large`. */
const maxClaimBytes = 4096

/** Where Envoy's original-destination clusters are told to go (`use_http_header`). */
const destination = 'x-envoy-original-dst-host'

// A client that sets these itself could make an upstream believe that the authorizer had failed, or choose where its request goes.
const alwaysRemoved = ['x-envoy-auth-failure-mode-allowed', destination]

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
function lookAlikes({ request, policy }: Facts, set: ReadonlySet<string>, removed: readonly string[]): readonly string[] {
  const { prefix } = policy.headers
  let found: string[] = nothing
  for (const name of request.namesLike(prefix)) {
    const alike = name.replaceAll('_', '-')
    const ours = alike.startsWith(prefix) || alwaysRemoved.includes(alike) || alike === 'authorization' || isCredential(policy, alike)
    if (!ours || set.has(name) || removed.includes(name)) continue
    if (found === nothing) found = []
    found.push(name)
  }
  return found
}

const nothing: string[] = []

/** Whether a name that a client spelled with `_` could be read as one that carries a credential, or an edge's claims. */
const isCredential = ({ places, stripped, edges }: Policy, name: string): boolean =>
  places.headers.includes(name) || stripped.includes(name) || edges.some(({ headers }) => headers.includes(name))

/** Query parameters that carry a bearer token: Envoy's jwt_authn reads `access_token` by default, and leaves it in. */
function credentialParameters(facts: Facts, keeps: boolean): readonly string[] {
  // Named only where it is there: Envoy writes the whole query anew otherwise too.
  const { metadataKeys, places } = facts.policy
  return (places.query || (metadataKeys.length > 0 && !keeps)) && facts.target && tokenParameter(facts.target.query) !== 'none'
    ? ['access_token']
    : nothing
}

/** Which names are set is the same for many requests, and so is what has to be removed. */
interface Plan {
  readonly set: ReadonlySet<string>
  readonly remove: readonly string[]
}

const plansOf = perObject((_: Policy) => perObject((_: HeaderGroup): (Plan | undefined)[] => []))

/** @param flags identity 1, workload 2, token 4, `authorization: keep` 8, owner of a list 16, destination 32 */
function planOf(policy: Policy, claims: HeaderGroup, flags: number): Plan {
  const plans = plansOf(policy)(claims)
  plans[flags] ??= makePlan(policy, claims, flags)
  return plans[flags]
}

function makePlan({ headers, places, stripped }: Policy, claims: HeaderGroup, flags: number): Plan {
  const set = new Set([headers.decision, ...claims.keys()])
  if (flags & 1) for (const name of [headers.subject, headers.issuer, headers.roles]) set.add(name)
  if (flags & 2) set.add(headers.workload)
  if (flags & 4) set.add('authorization')
  if (flags & 16) set.add(headers.owner)
  if (flags & 32) set.add(destination)
  const remove = headers.fixed.filter((name) => !set.has(name))
  if (!(flags & 8) && !set.has('authorization')) remove.push('authorization')
  for (const name of alwaysRemoved) if (!set.has(name)) remove.push(name)
  remove.push(...places.headers, ...stripped)
  return { set, remove }
}

function finish(facts: Facts, principal: Principal | undefined): Mutations {
  const { headers } = facts.policy
  const { claimHeaders: claims, workload, downstreamToken: token } = facts
  const keeps = facts.route?.authorization === 'keep'
  const own: [string, string | BearerToken][] = [[headers.decision, facts.decisionId]]
  let flags = keeps ? 8 : 0
  let shared: readonly HeaderGroup[] = []
  if (principal) {
    flags |= 1
    const identity = identityGroupsOf(headers)(principal)
    shared = claims.size === 0 ? [identity] : [claims, identity]
    if (workload) {
      flags |= 2
      own.push([headers.workload, percentEncode(workload.id)])
    }
    if (token) {
      flags |= 4
      own.push(['authorization', token])
    }
    const list = facts.route?.list
    if (list) {
      const whose = listOwner(facts.policy, callerOf(principal, facts.policy.ownership), list)
      if (typeof whose === 'string') {
        flags |= 16
        own.push([headers.owner, whose])
      }
    }
    if (facts.endpoint !== undefined) {
      flags |= 32
      own.push([destination, facts.endpoint])
    }
  }
  const { policy } = facts
  const { set, remove } = planOf(policy, principal ? claims : noHeaders, flags)
  let also = lookAlikes(facts, set, remove)
  if (policy.edges.length > 0) also = [...also, ...untrusted(facts, principal !== undefined)]
  if (policy.places.cookies.length > 0 || policy.places.websocket) {
    const emptied = stripCredentials(facts, policy.places, own)
    if (emptied.length > 0) also = [...also, ...emptied]
  }
  return { shared, own, remove, removeAlso: also, removeQuery: credentialParameters(facts, keeps) }
}

const edgeHeaders = perObject(({ edges }: Policy): readonly string[] => [...new Set(edges.flatMap(({ headers }) => headers))])

/** Headers of edges that this request does not come from. Where nobody is asked for, nothing is known of where it comes from. */
function untrusted({ policy, request, workload }: Facts, asked: boolean): readonly string[] {
  const all = edgeHeaders(policy)
  const from = asked ? policy.edges.filter((edge) => edge.trusts(request, workload)) : []
  if (from.length === 0) return all
  return from.length === policy.edges.length ? nothing : all.filter((name) => !from.some(({ headers }) => headers.includes(name)))
}

/**
 * Takes credentials out of `Cookie` and `Sec-WebSocket-Protocol`.
 * @param own where the rest of such a header is set
 * @returns names of the headers of which nothing is left
 */
function stripCredentials({ request }: Facts, { cookies, websocket }: CredentialPlaces, own: [string, string | BearerToken][]): string[] {
  const emptied: string[] = []
  const strip = (name: string, without: (value: string) => string): void => {
    const value = request.header(name)
    const rest = value === undefined ? value : without(value)
    if (rest === value) return
    if (rest === undefined || rest === '') emptied.push(name)
    else own.push([name, rest])
  }
  if (cookies.length > 0) strip('cookie', (value) => withoutCookies(value, cookies))
  if (websocket) strip('sec-websocket-protocol', (value) => (protocolTokens(value).length > 0 ? withoutTokens(value) : value))
  return emptied
}

/** Public routes and preflights: no identity goes on, and none that the client made up either. */
export const anonymous = (facts: Facts): Mutations => finish(facts, undefined)

/** What a request that `enforce: false` lets through carries: nothing but the decision's id. */
export const unenforced = anonymous

const identityGroupsOf = perObject((headers: HeaderNames) =>
  perObject((principal: Principal): HeaderGroup => {
    const { subject, issuer, roles } = principalTexts(principal)
    return new Map([
      [headers.subject, subject],
      [headers.issuer, issuer],
      [headers.roles, roles],
    ])
  }),
)

const claimGroups = new WeakMap<Principal, { readonly claims: readonly ClaimHeader[]; readonly group: HeaderGroup | undefined }>()

/**
 * The claims that a route hands on.
 * @returns undefined where they are larger together than {@link maxClaimBytes}
 */
export function claimHeaders(claims: readonly ClaimHeader[], principal: Principal): HeaderGroup | undefined {
  if (claims.length === 0) return noHeaders
  // A caller mostly asks one route after the other of the same kind: the last one's claims are enough to keep.
  const known = claimGroups.get(principal)
  if (known?.claims === claims) return known.group
  const group = readClaims(claims, principal)
  claimGroups.set(principal, { claims, group })
  return group
}

function readClaims(claims: readonly ClaimHeader[], principal: Principal): HeaderGroup | undefined {
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
export const identity = (facts: Facts, principal: Principal): Mutations => finish(facts, principal)
