import type { Policy } from './policy.ts'
import type { Principal, Workload } from './principal.ts'
import type { Request, Target } from './request.ts'
import type { Route } from './route.ts'

/** Whether memory answered: for access logs. */
export type CacheUse = 'hit' | 'miss' | 'none'
export type OwnerMatch = 'yes' | 'no' | 'bypassed' | 'none'

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
export interface Normalized extends Received {
  readonly target: Target
}
export interface Routed extends Normalized {
  readonly route: Route
  readonly params: ReadonlyMap<string, string>
  /** A public route, or a true preflight that passes: identify to exchange are skipped. */
  readonly open: boolean
}
export interface Open extends Routed {
  readonly open: true
}
export interface Identified extends Routed {
  readonly principal: Principal
  readonly workload: Workload | undefined
}
export interface NotRevoked extends Identified {
  readonly revocation: 'checked'
}
export interface Authorized extends NotRevoked {
  readonly authorized: true
  /** Header name → value, for the claims that the route hands on. */
  readonly claimHeaders: ReadonlyMap<string, string>
}
export interface Owned extends Authorized {
  /** `<kind>:<id>`, where the route names a resource and the request an id. */
  readonly resource: string | undefined
  readonly ownerMatch: OwnerMatch
}
export interface Exchanged extends Owned {
  readonly downstreamToken: string | undefined
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
  downstreamToken: string | undefined = undefined
  cache: CacheUse = 'none'
  /** The stage whose promise is awaited: what a passed deadline is blamed on. */
  waitingFor: StageName | undefined = undefined
  /** Set when the answer has been given: what still runs must not go on to the next stage. */
  answered = false

  constructor(request: Request, policy: Policy, now: number, decisionId: string) {
    this.request = request
    this.policy = policy
    this.now = now
    this.decisionId = decisionId
  }
}

// A state is the same object seen through a narrower type; the casts stand here and nowhere else.
const facts = (state: Received): Facts => state as Facts

export function normalized(state: Received, target: Target): Normalized {
  facts(state).target = target
  return state as Normalized
}

export function routed(state: Normalized, route: Route, params: ReadonlyMap<string, string>, open: boolean): Routed {
  const f = facts(state)
  f.route = route
  f.params = params
  f.open = open
  return state as Routed
}

/** The workload is noted before anything is decided about the principal, so that denials tell it too. */
export function noteWorkload(state: Routed, workload: Workload | undefined): void {
  facts(state).workload = workload
}

export function identified(state: Routed, principal: Principal): Identified {
  facts(state).principal = principal
  return state as Identified
}

export function notRevoked(state: Identified): NotRevoked {
  facts(state).revocation = 'checked'
  return state as NotRevoked
}

export function authorized(state: NotRevoked, claimHeaders: ReadonlyMap<string, string>): Authorized {
  const f = facts(state)
  f.authorized = true
  f.claimHeaders = claimHeaders
  return state as Authorized
}

/** Notes the resource and how the look-up went, before or with the outcome. */
export function noteOwnership(state: Authorized, resource: string, match: OwnerMatch): void {
  const f = facts(state)
  f.resource = resource
  f.ownerMatch = match
}

/** A miss anywhere is a miss. */
export function noteCache(state: Received, use: CacheUse): void {
  const f = facts(state)
  if (use === 'miss' || f.cache === 'none') f.cache = use
}

export const owned = (state: Authorized): Owned => state as Owned

export function exchanged(state: Owned, token: string | undefined): Exchanged {
  facts(state).downstreamToken = token
  return state as Exchanged
}
