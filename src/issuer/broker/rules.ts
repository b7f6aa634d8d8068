import type { OwnToken } from '../../core/issuer.ts'
import { covers } from '../../core/scopes.ts'

/** `broker` of the policy in force; seconds. */
export interface BrokerRules {
  readonly trustDomain: string
  /** Of agents' tokens: that of the edge. */
  readonly audience: string
  readonly defaultTtl: number
  /** 0: no ceiling. */
  readonly maxTtl: number
  readonly appTokenTtl: number
  readonly idleAfter: number
  /** Of agents' tokens at the edge. */
  readonly roles: readonly string[]
}

/** The life of a token: what was asked for, or the usual, under each ceiling (0 is none). Seconds. */
export const clampTtl = (asked: number | undefined, usual: number, ...ceilings: readonly number[]): number =>
  ceilings.reduce((ttl, ceiling) => (ceiling > 0 ? Math.min(ttl, ceiling) : ttl), asked ?? usual)

/**
 * Up to when an agent counts as active: its last token may be in use all the time, which is not seen here.
 * @param at when it was heard of @param ends when a token of its ends, or up to when it counted as active so far; all in seconds
 */
export const activeUntil = (at: number, idleAfter: number, ends: number): number => Math.max(at + idleAfter, ends)

/** Whether each wanted scope is covered by one of the ceiling. */
export const isWithin = (ceiling: readonly string[], wanted: readonly string[]): boolean =>
  wanted.every((scope) => ceiling.some((have) => covers(have, scope)))

/** Why the broker refuses; each has one answer over HTTP. */
export type BrokerRefusal =
  /** Not a token of ours for this, or not any more: nothing is said of which. */
  | 'invalid_token'
  | 'invalid_client'
  /** Unknown, used or expired. */
  | 'invalid_launch_token'
  /** The nonce or the signature over it. */
  | 'invalid_proof'
  | 'invalid_key'
  | 'scope_outside_ceiling'
  /** More than five actors. */
  | 'chain_too_long'
  /** The agent that is to act is none that is known and active. */
  | 'agent_not_active'
  /** No parser takes a token that long. */
  | 'token_too_large'

/** Who holds a token: the outermost actor, else its subject. */
export const holderOf = ({ actor, subject }: Pick<OwnToken, 'actor' | 'subject'>): string => actor?.subject ?? subject
