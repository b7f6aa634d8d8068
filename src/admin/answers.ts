import type { Context } from 'hono'
import type { ContentfulStatusCode } from 'hono/utils/http-status'
import type { Connection } from '../core/connection.ts'
import { problemText, problemType } from '../core/http-problem.ts'

/** Who asks, once it is known: an admin token, or an allow-listed workload by its certificate. */
export interface Caller {
  readonly kind: 'token' | 'workload'
  /** `sub` of the token, or the SPIFFE ID. */
  readonly name: string
  readonly scopes: readonly string[]
}

/** What Hono carries along with a request. */
export interface AdminEnv {
  readonly Bindings: Connection
  readonly Variables: { caller: Caller }
}

export type AdminContext = Context<AdminEnv>

const titles: Partial<Record<ContentfulStatusCode, string>> = {
  400: 'The request is not as it should be',
  401: 'An admin token is required',
  403: 'Not allowed',
  404: 'Nothing is here',
  405: 'Not a method of this call',
  409: 'It is not as it would have to be',
  412: 'It is not as it was said to be',
  413: 'The body is too large',
  415: 'The body must be JSON',
  421: 'This is not the host that was asked for',
  429: 'Too many attempts',
  500: 'An internal error',
  503: 'State does not answer at the moment',
}

/**
 * Problem details (RFC 9457) of the admin listener.
 * @param reason a word for programs
 * @param detail a sentence for people; never holds what was sent
 */
export function problem(
  c: AdminContext,
  status: ContentfulStatusCode,
  reason: string,
  detail: string,
  headers: Record<string, string> = {},
) {
  return c.body(problemText('admin', { status, title: titles[status] ?? 'An error', reason, detail }), status, {
    'content-type': problemType,
    ...headers,
  })
}
