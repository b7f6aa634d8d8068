import { challengeHeaders } from './challenge.ts'
import type { Facts } from './facts.ts'
import { type Deny, httpStatus, rpcCode, title } from './reasons.ts'
import type { Request } from './request.ts'

/**
 * The form of a denial that its client understands. `grpc`: Envoy makes 200 with `grpc-status` of it, and `grpc-message` of
 * the body. `grpc-web`: Envoy passes it on as it is, where it has no grpc_web filter. `json-rpc`: the Model Context Protocol.
 */
type Form = 'problem' | 'grpc' | 'grpc-web' | 'json-rpc' | 'none'

function formFor(request: Request): Form {
  if (request.method === 'HEAD') return 'none'
  const type = request.header('content-type')
  if (type?.startsWith('application/grpc')) return type.startsWith('application/grpc-web') ? 'grpc-web' : 'grpc'
  return isMcp(request) ? 'json-rpc' : 'problem'
}

/**
 * Whether a request is one of the Streamable HTTP transport of the Model Context Protocol: it says which version it speaks
 * or which session it belongs to, or it is the first of its client, which accepts both forms of answer.
 */
function isMcp(request: Request): boolean {
  if (request.header('mcp-protocol-version') !== undefined || request.header('mcp-session-id') !== undefined) return true
  if (request.method !== 'POST') return false
  const accept = request.header('accept') ?? ''
  return accept.includes('application/json') && accept.includes('text/event-stream')
}

/** The body of a denial, and the headers that go with it, lower case: the decision id, no-store, and a challenge where one belongs. */
export function problem(denial: Deny, facts: Facts): { readonly headers: [string, string][]; readonly body: string } {
  const headers: [string, string][] = [
    [facts.policy.headers.decision, facts.decisionId],
    ['cache-control', 'no-store'],
  ]
  const body = written(formFor(facts.request), denial, facts, headers)
  headers.push(...challengeHeaders(denial, facts))
  return { headers, body }
}

function written(form: Form, denial: Deny, facts: Facts, headers: [string, string][]): string {
  switch (form) {
    case 'none':
      return ''
    case 'grpc':
      headers.push(['content-type', 'text/plain; charset=utf-8'])
      return sentence(denial, facts)
    case 'grpc-web':
      // "Trailers-Only" (gRPC over HTTP2, Responses): what a body would be, its client would take for frames.
      headers.push(['grpc-status', String(rpcCode[httpStatus[denial.reason]])], ['grpc-message', sentence(denial, facts)])
      return ''
    case 'json-rpc':
      headers.push(['content-type', 'application/json'])
      return rpcError(denial, facts)
    case 'problem':
      headers.push(['content-type', 'application/problem+json'])
      return problemDetails(denial, facts)
  }
}

/** RFC 9457 problem details, and no more than `reason` and `decision_id` beside the standard members. */
const problemDetails = (denial: Deny, facts: Facts): string =>
  JSON.stringify({
    type: `urn:postern:denial:${denial.reason}`,
    title: title[denial.reason],
    status: httpStatus[denial.reason],
    ...(facts.policy.denials.detail ? { detail: denial.detail } : {}),
    reason: denial.reason,
    decision_id: facts.decisionId,
  })

/** For `grpc-message`: visible ASCII without `%`, so that it is its own percent-encoding. */
const sentence = ({ reason }: Deny, { decisionId }: Facts): string => `${title[reason]} (${reason}, decision ${decisionId})`

/**
 * A JSON-RPC 2.0 error response. Its id is null, since the request's stands in a body that is not read (section 5).
 * Codes from -32768 to -32000 are reserved there: where none of them says it, the code is the HTTP status.
 */
function rpcError(denial: Deny, facts: Facts): string {
  const status = httpStatus[denial.reason]
  return JSON.stringify({
    jsonrpc: '2.0',
    id: null,
    error: {
      code: status === 400 ? invalidRequest : status === 500 ? internalError : status,
      message: title[denial.reason],
      data: {
        ...(facts.policy.denials.detail ? { detail: denial.detail } : {}),
        status,
        reason: denial.reason,
        decision_id: facts.decisionId,
      },
    },
  })
}

const invalidRequest = -32600
const internalError = -32603
