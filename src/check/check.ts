import { type Answer, render } from '../core/answer.ts'
import type { Allow, Decision } from '../core/decision.ts'
import { Facts, type Received } from '../core/facts.ts'
import { unenforced } from '../core/header-edits.ts'
import type { Policy } from '../core/policy.ts'
import type { Soon } from '../core/ports.ts'
import { Deny, mayGoUnenforced } from '../core/reasons.ts'
import type { Request } from '../core/request.ts'
import { decide } from './decide.ts'
import type { Observer } from './observe.ts'
import type { Run } from './stage.ts'

/** A policy with the pipeline that was built for it; replaced as one. */
export interface Ruling {
  readonly policy: Policy
  readonly run: Run<Received, Allow>
}

export interface CheckOptions {
  /** The ruling in force now: asked once a check, so that a reload never mixes two policies. */
  readonly ruling: () => Ruling
  readonly observe: Observer
  /** @param now milliseconds since the epoch */
  readonly newId: (now: number) => string
  /** Milliseconds since the epoch. */
  readonly clock: () => number
}

/**
 * Answers one request. Never throws, never rejects.
 * @param budgetMs milliseconds from `begun` within which it answers
 * @param begun performance.now() when the request arrived; now, unless given
 */
export type Check = (request: Request, budgetMs: number, begun?: number) => Soon<Answer>

export function createCheck(options: CheckOptions): Check {
  return (request, budgetMs, begun = performance.now()) => {
    const { policy, run } = options.ruling()
    const now = options.clock()
    const facts = new Facts(request, policy, now, options.newId(now), begun)
    const finish = (decision: Decision): Answer => {
      const micros = Math.round((facts.monotonic - begun) * 1000)
      const enforced = adopt(decision, facts)
      const answer = render(enforced, facts, micros)
      const detail = decision instanceof Deny ? decision.detail : ''
      options.observe({ facts, decision: enforced, answer, reason: answer.reason, detail, micros })
      return answer
    }
    const decision = decide(run, facts, begun + budgetMs)
    return decision instanceof Promise ? decision.then(finish) : finish(decision)
  }
}

/** `enforce: false`: the denial is kept for the record, and the request goes on without identity. */
function adopt(decision: Decision, facts: Facts): Decision {
  if (!(decision instanceof Deny) || facts.route === undefined || facts.route.enforce || !mayGoUnenforced(decision.reason)) return decision
  return { access: decision, mutations: unenforced(facts) }
}
