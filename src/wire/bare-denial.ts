import type { DenyAnswer } from '../core/answer.ts'
import { type DenyReason, httpStatus, rpcCode, title } from '../core/reasons.ts'

/** Reasons for which the wire itself refuses, before or after a check. */
export type WireReason = Extract<DenyReason, 'bad_request' | 'internal' | 'overloaded'>

/** The decision id of a denial, the header that carries it, and the policy in force. */
export interface DecisionMark {
  readonly id: string
  /** `x-postern-decision`, unless configured. */
  readonly header: string
  readonly realm: string
  /** Revision. */
  readonly policy: string
}

/**
 * A denial where no request is at hand to make a better one of: RFC 9457 problem details, and metadata of
 * what is known without one.
 */
export function bareDenial(reason: WireReason, mark?: DecisionMark): DenyAnswer {
  const status = httpStatus[reason]
  const problem = { type: `urn:postern:denial:${reason}`, title: title[reason], status, reason }
  const headers: [string, string][] = [
    ['cache-control', 'no-store'],
    ['content-type', 'application/problem+json'],
  ]
  if (mark) headers.unshift([mark.header, mark.id])
  return {
    kind: 'deny',
    reason,
    status,
    code: rpcCode[status],
    headers,
    body: JSON.stringify(mark ? { ...problem, decision_id: mark.id } : problem),
    metadata: {
      shared: [{ decision: 'deny', enforced: true, reason }],
      own: mark
        ? [
            ['decision_id', mark.id],
            ['realm', mark.realm],
            ['policy', mark.policy],
          ]
        : [],
    },
  }
}
