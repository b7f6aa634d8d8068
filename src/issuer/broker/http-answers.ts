import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Connection } from '../../core/connection.ts'
import { type BodySchema, readJsonBody } from '../../core/http-body.ts'
import { problemText, problemType } from '../../core/http-problem.ts'
import type { Minted } from '../../core/issuer.ts'
import type { BrokerRefusal } from './rules.ts'

/** What Hono carries along with a request. */
export interface BrokerEnv {
  readonly Bindings: Connection
}
export type BrokerContext = Context<BrokerEnv>

const titles: Partial<Record<ContentfulStatusCode, string>> = {
  400: 'The request is not as it should be',
  401: 'Not authenticated',
  403: 'Not allowed',
  404: 'Nothing is here',
  405: 'Not a method of this call',
  413: 'The body is too large',
  415: 'The body must be JSON',
  429: 'Too many requests',
  500: 'An internal error',
  503: 'State does not answer at the moment',
}

/** Problem details of the broker. @param detail never holds what was sent */
export const problem = (
  c: BrokerContext,
  status: ContentfulStatusCode,
  reason: string,
  detail: string,
  headers: Readonly<Record<string, string>> = {},
): Response =>
  c.body(problemText('broker', { status, title: titles[status] ?? 'An error', reason, detail }), status, {
    'content-type': problemType,
    ...headers,
  })

const challenge = { 'www-authenticate': 'Bearer realm="postern", error="invalid_token"' }

/** Each refusal in the form of HTTP: no more than its caller needs. */
const refusals: Readonly<
  Record<BrokerRefusal, { readonly status: 400 | 401 | 403; readonly detail: string; readonly headers?: Readonly<Record<string, string>> }>
> = {
  invalid_token: { status: 401, detail: 'token is invalid or expired', headers: challenge },
  invalid_client: { status: 401, detail: 'the client is unknown, or this is not its secret', headers: challenge },
  invalid_launch_token: { status: 401, detail: 'the launch token is invalid, used or expired', headers: challenge },
  invalid_proof: { status: 401, detail: 'the nonce is invalid, used or expired, or the signature is not right', headers: challenge },
  invalid_key: { status: 400, detail: 'public_key: expected an Ed25519 public key' },
  scope_outside_ceiling: { status: 403, detail: 'a scope is outside of what is allowed' },
  chain_too_long: { status: 403, detail: 'a delegation has at most five actors' },
  agent_not_active: { status: 403, detail: 'agent_id names no agent that is registered and active' },
  token_too_large: { status: 400, detail: 'the token would be too large: ask for fewer or shorter scopes' },
}

export const refusal = (c: BrokerContext, reason: BrokerRefusal): Response => {
  const { status, detail, headers } = refusals[reason]
  return problem(c, status, reason, detail, headers)
}

/** Reads a JSON body by its schema, or says what was expected. @param empty what no body stands for */
export async function readBody<T>(c: BrokerContext, schema: BodySchema<T>, empty?: unknown): Promise<T | Response> {
  const read = await readJsonBody(c.req.raw, schema, empty)
  if (read.ok) return read.data
  const { status, reason, detail } = read.fault
  return problem(c, status, reason, detail, status === 413 ? { connection: 'close' } : {})
}

/** A token, in the form of RFC 6749, section 5.1. */
export const tokenAnswer = ({ token, issuedAt, expiresAt }: Minted) => ({
  access_token: token,
  token_type: 'Bearer',
  expires_in: Math.max(0, expiresAt - issuedAt),
})
