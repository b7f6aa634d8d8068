import type { BearerToken } from './bearer-token.ts'
import type { Policy } from './policy.ts'
import type { Principal, Workload } from './principal.ts'
import type { Request, Target } from './request.ts'
import type { Route } from './route.ts'

/** Whether memory answered: for access logs. */
export const cacheUses = ['hit', 'miss', 'none'] as const
export type CacheUse = (typeof cacheUses)[number]
export const ownerMatches = ['yes', 'shared', 'no', 'bypassed', 'none'] as const
export type OwnerMatch = (typeof ownerMatches)[number]

/** The stages in their order. */
export const stageNames = ['normalize', 'route', 'identify', 'revocation', 'authorize', 'own', 'exchange', 'respond'] as const
export type StageName = (typeof stageNames)[number]

/** Where a check begins. Each stage adds facts and takes none away, so the types below fix their order. */
export interface Received {
  readonly request: Request
  readonly policy: Policy
  /** Milliseconds since the epoch, read once. */
  readonly now: number
  /** UUIDv7. */
  readonly decisionId: string
}
/** After normalize. */
export interface Normalized extends Received {
  readonly target: Target
}
/** After route. */
export interface Routed extends Normalized {
  readonly route: Route
  readonly params: ReadonlyMap<string, string>
  /** A public route, or a true preflight that passes: identify to exchange are skipped. */
  readonly open: boolean
}
/** A request that asks for nobody: on to respond. */
export interface Open extends Routed {
  readonly open: true
}
/** After identify. */
export interface Identified extends Routed {
  readonly principal: Principal
  readonly workload: Workload | undefined
}
/** After revocation. */
export interface NotRevoked extends Identified {
  readonly revocation: 'checked'
}
/** After authorize. */
export interface Authorized extends NotRevoked {
  readonly authorized: true
  /** Header name → value, for the claims that the route hands on. */
  readonly claimHeaders: ReadonlyMap<string, string>
}
/** After own. */
export interface Owned extends Authorized {
  /** `<kind>:<id>`, where the route names a resource and the request an id. */
  readonly resource: string | undefined
  readonly ownerMatch: OwnerMatch
}
/** After exchange. */
export interface Exchanged extends Owned {
  readonly downstreamToken: BearerToken | undefined
}

export const noHeaders: ReadonlyMap<string, string> = new Map()

/**
 * All facts of one check in one object, written only through the functions below. On a denial it holds what
 * was known by then, which is what logs and metadata tell.
 */
export class Facts implements Received {
  readonly request: Request
  readonly policy: Policy
  readonly now: number
  readonly decisionId: string
  target: Target | undefined = undefined
  route: Route | undefined = undefined
  params: ReadonlyMap<string, string> | undefined = undefined
  open = false
  principal: Principal | undefined = undefined
  workload: Workload | undefined = undefined
  revocation: 'checked' | undefined = undefined
  authorized: true | undefined = undefined
  claimHeaders: ReadonlyMap<string, string> = noHeaders
  resource: string | undefined = undefined
  ownerMatch: OwnerMatch = 'none'
  /** Where the resource is reached, on a route that goes straight to it: `ip:port`. */
  endpoint: string | undefined = undefined
  downstreamToken: BearerToken | undefined = undefined
  cache: CacheUse = 'none'
  /** The stage whose promise is awaited: what a passed deadline is blamed on. */
  waitingFor: StageName | undefined = undefined
  /** performance.now() milliseconds when the check began, or when what it last waited for had come: good to within its own run. */
  monotonic: number
  /** Set when the answer has been given: what still runs must not go on to the next stage. */
  answered = false

  constructor(request: Request, policy: Policy, now: number, decisionId: string, monotonic = performance.now()) {
    this.monotonic = monotonic
    this.request = request
    this.policy = policy
    this.now = now
    this.decisionId = decisionId
  }
}

// A state is the same object seen through a narrower type; the casts stand here and nowhere else.

/** All facts of the check that a state belongs to. */
export const factsOf = (state: Received): Facts => state as Facts

/** The state that normalize hands on. */
export function normalized(state: Received, target: Target): Normalized {
  factsOf(state).target = target
  return state as Normalized
}

/** The state that route hands on. */
export function routed(state: Normalized, route: Route, params: ReadonlyMap<string, string>, open: boolean): Routed {
  const f = factsOf(state)
  f.route = route
  f.params = params
  f.open = open
  return state as Routed
}

/** The workload is noted before anything is decided about the principal, so that denials tell it too. */
export function noteWorkload(state: Routed, workload: Workload | undefined): void {
  factsOf(state).workload = workload
}

/** The state that identify hands on. */
export function identified(state: Routed, principal: Principal): Identified {
  factsOf(state).principal = principal
  return state as Identified
}

/** The state that revocation hands on. */
export function notRevoked(state: Identified): NotRevoked {
  factsOf(state).revocation = 'checked'
  return state as NotRevoked
}

/** The state that authorize hands on. */
export function authorized(state: NotRevoked, claimHeaders: ReadonlyMap<string, string>): Authorized {
  const f = factsOf(state)
  f.authorized = true
  f.claimHeaders = claimHeaders
  return state as Authorized
}

/** Notes the resource and how the look-up went, before or with the outcome. */
export function noteOwnership(state: Authorized, resource: string, match: OwnerMatch): void {
  const f = factsOf(state)
  f.resource = resource
  f.ownerMatch = match
}

/** Notes that a role of the caller lists what is everybody's. */
export function noteBypass(state: Authorized): void {
  factsOf(state).ownerMatch = 'bypassed'
}

/** Notes where the request goes, past the route that Envoy would take. @param endpoint `ip:port`, an IPv6 address in brackets */
export function noteEndpoint(state: Authorized, endpoint: string): void {
  factsOf(state).endpoint = endpoint
}

/** A miss anywhere is a miss. */
export function noteCache(state: Received, use: CacheUse): void {
  const f = factsOf(state)
  if (use === 'miss' || f.cache === 'none') f.cache = use
}

/** The state that own hands on; what was found has been noted by {@link noteOwnership}. */
export const owned = (state: Authorized): Owned => state as Owned

/** The state that exchange hands on. @param token undefined where the route names none */
export function exchanged(state: Owned, token: BearerToken | undefined): Exchanged {
  factsOf(state).downstreamToken = token
  return state as Exchanged
}
