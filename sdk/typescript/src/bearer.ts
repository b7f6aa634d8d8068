import { invalidRequest, invalidToken, noToken } from './refusal.ts'

/** Bytes of a token that are looked at: Postern's own limit. */
const mostBytes = 8 * 1024
const jws = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

/**
 * Takes the token out of `Authorization` (RFC 6750, section 2.1), strictly: what two parsers could read differently is refused.
 * @param values of all the request's `Authorization` headers
 * @throws Refusal
 */
export function bearerToken(values: readonly string[]): string {
  const [value, ...others] = values
  if (value === undefined) throw noToken()
  // Servers and proxies join several headers by a comma, which neither a scheme nor a token holds.
  if (others.length > 0 || value.includes(',')) throw invalidRequest('more than one Authorization header')
  const token = /^Bearer ([^ ]+)$/i.exec(value)?.[1]
  if (token === undefined) throw invalidToken('Authorization is not of the form "Bearer TOKEN"')
  if (token.length > mostBytes) throw invalidToken(`the token is longer than ${mostBytes} bytes`)
  if (!jws.test(token)) throw invalidToken('the token is no signed JWT in compact form')
  return token
}
