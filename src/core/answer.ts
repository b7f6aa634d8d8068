import type { Allow, Decision, Mutations } from './decision.ts'
import type { Facts } from './facts.ts'
import { type Metadata, metadataOf } from './metadata.ts'
import { problem } from './problem.ts'
import { Deny, type DenyReason, httpStatus, rpcCode } from './reasons.ts'

/** Everything that Envoy is told of one check; the wire only has to spell it. */
export type Answer = AllowAnswer | DenyAnswer

/** An OkHttpResponse (envoy.service.auth.v3). */
export interface AllowAnswer {
  readonly kind: 'allow'
  /** `ok`, or why it would have been denied where the route says `enforce: false`. */
  readonly reason: 'ok' | DenyReason
  readonly mutations: Mutations
  readonly metadata: Metadata
}

/** A DeniedHttpResponse (envoy.service.auth.v3). */
export interface DenyAnswer {
  readonly kind: 'deny'
  readonly reason: DenyReason
  /** HTTP status, 400 to 599. */
  readonly status: number
  /** google.rpc.Code, never 0. */
  readonly code: number
  /** For the client, lower-case names. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: string
  readonly metadata: Metadata
}

/**
 * Renders a decision.
 * @param micros how long the check took, for `check_us`
 */
export function render(decision: Decision, facts: Facts, micros: number): Answer {
  if (!(decision instanceof Deny)) return renderAllow(decision, facts, micros)
  return {
    kind: 'deny',
    reason: decision.reason,
    status: httpStatus[decision.reason],
    code: rpcCode[httpStatus[decision.reason]],
    ...problem(decision, facts),
    metadata: metadataOf(facts, decision.reason, true, micros),
  }
}

function renderAllow(allow: Allow, facts: Facts, micros: number): AllowAnswer {
  const reason = allow.access instanceof Deny ? allow.access.reason : 'ok'
  return { kind: 'allow', reason, mutations: allow.mutations, metadata: metadataOf(facts, reason, reason === 'ok', micros) }
}
