import { problemType } from '../core/http-problem.ts'
import type { ImmediateAnswer } from '../core/processing.ts'

/** Why a client is told something else than what the upstream said: the closed vocabulary of ext_proc. */
export type ProcessingReason =
  | 'takeover'
  | 'not_owner'
  | 'unusable_response'
  | 'owner_unavailable'
  | 'route_unknown'
  | 'metadata_unusable'
  | 'internal'

const told = {
  takeover: { status: 409, title: 'The resource is not available to this caller' },
  not_owner: { status: 403, title: 'The resource is not available to this caller' },
  unusable_response: { status: 502, title: 'The answer of the upstream cannot be used' },
  owner_unavailable: { status: 503, title: 'Ownership cannot be checked at the moment' },
  route_unknown: { status: 503, title: 'The policy has changed meanwhile' },
  metadata_unusable: { status: 503, title: 'What the check decided is not known here' },
  internal: { status: 500, title: 'An internal error' },
} as const satisfies Record<ProcessingReason, { readonly status: number; readonly title: string }>

/** Of whose request an answer tells. */
export interface Asked {
  readonly method: string
  /** undefined where Envoy did not hand it on. */
  readonly decisionId: string | undefined
  /** The name of the header for it, lower case. */
  readonly decisionHeader: string
}

/** Problem details (RFC 9457) in place of the upstream's answer: like those of a denial, and no more than a denial says. */
export function processingAnswer(reason: ProcessingReason, { method, decisionId, decisionHeader }: Asked): ImmediateAnswer {
  const { status, title } = told[reason]
  const id = decisionId === undefined ? {} : { decision_id: decisionId }
  return {
    status,
    headers: [
      ...(decisionId === undefined ? [] : [[decisionHeader, decisionId] as const]),
      ['cache-control', 'no-store'],
      ...(method === 'HEAD' ? [] : [['content-type', problemType] as const]),
    ],
    body: method === 'HEAD' ? '' : JSON.stringify({ type: `urn:postern:denial:${reason}`, title, status, reason, ...id }),
    details: `postern_${reason}`,
  }
}
