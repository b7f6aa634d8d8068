/** The error codes of RFC 6750, section 3.1. */
export type BearerError = 'invalid_request' | 'invalid_token' | 'insufficient_scope'

/**
 * Why a request is not served. `message` is for the log of the upstream: it names what was wrong, never the credential. The client
 * is told the status and the standard's code alone.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: 400 | 401 | 403 | 503
  /** Undefined where no token came (RFC 6750, section 3.1: no code then), and where the token is not the reason. */
  readonly error: BearerError | undefined

  constructor(status: 400 | 401 | 403 | 503, error: BearerError | undefined, message: string) {
    super(message)
    this.status = status
    this.error = error
  }
}

/** No `Authorization` at all. */
export const noToken = (): Refusal => new Refusal(401, undefined, 'no Authorization header')
export const invalidRequest = (message: string): Refusal => new Refusal(400, 'invalid_request', message)
export const invalidToken = (message: string): Refusal => new Refusal(401, 'invalid_token', message)
/** A good token that does not reach this far: another resource, or a scope is missing. */
export const insufficient = (message: string): Refusal => new Refusal(403, 'insufficient_scope', message)
/** The peer of the connection is not one that may ask. */
export const wrongPeer = (message: string): Refusal => new Refusal(403, undefined, message)
/** The issuer's keys cannot be had: nothing can be said of the token, so it is not accepted. */
export const unavailable = (message: string): Refusal => new Refusal(503, undefined, message)

/**
 * The answer to a refused request: headers (RFC 6750, section 3; RFC 9457 for the body's type) and body.
 * @param realm of the challenge: printable ASCII without quotes and backslashes
 */
export function answerTo(refusal: Refusal, realm: string): { readonly headers: Readonly<Record<string, string>>; readonly body: string } {
  const { status, error } = refusal
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'cache-control': 'no-store' }
  if (error !== undefined) headers['www-authenticate'] = `Bearer realm="${realm}", error="${error}"`
  else if (status === 401) headers['www-authenticate'] = `Bearer realm="${realm}"`
  if (status === 503) headers['retry-after'] = '1'
  return { headers, body: JSON.stringify({ type: 'about:blank', status, ...(error !== undefined && { error }) }) }
}
