import { claimedIssuer, parseJwt } from './jwt.ts'
import type { Credential, UnverifiedJwt } from './validator.ts'

/**
 * Reads the presented `Authorization` (RFC 9110, section 11.6.2): the scheme is what stands before the first
 * space, in lower case; the token is all that follows that one space, untouched.
 * @param authorization the header's value as sent; undefined where only payloads verified by Envoy were presented
 */
export const readCredential = (authorization: string | undefined): Credential => new PresentedCredential(authorization)

class PresentedCredential implements Credential {
  readonly authorization: string | undefined
  readonly scheme: string
  readonly token: string
  // Taken apart when first asked for: a token that a validator remembers by its digest never is.
  #jwt: UnverifiedJwt | undefined
  #parsed = false

  constructor(authorization: string | undefined) {
    this.authorization = authorization
    const space = authorization?.indexOf(' ') ?? -1
    this.scheme = space > 0 ? authorization!.slice(0, space).toLowerCase() : ''
    this.token = space > 0 ? authorization!.slice(space + 1) : ''
  }

  get jwt(): UnverifiedJwt | undefined {
    if (!this.#parsed) {
      this.#parsed = true
      this.#jwt = this.token === '' ? undefined : parseJwt(this.token)
    }
    return this.#jwt
  }

  get claimedIssuer(): string | undefined {
    if (!this.jwt) return claimedIssuer(this.token)
    const { iss } = this.jwt.payload
    return typeof iss === 'string' ? iss : undefined
  }
}

const plain = 'access_token'

/**
 * Whether a query carries a bearer token (RFC 6750, section 2.3), and whether Envoy can strip it: it reads the
 * parameter in any spelling (`%61ccess_token`), and removes it in the plain one only.
 * @param query without the `?`
 */
export function tokenParameter(query: string): 'none' | 'plain' | 'disguised' {
  if (!query.includes('token') && !query.includes('%')) return 'none'
  let found: 'none' | 'plain' = 'none'
  for (const part of query.split('&')) {
    const equals = part.indexOf('=')
    const name = equals < 0 ? part : part.slice(0, equals)
    if (name === plain) found = 'plain'
    else if (decoded(name) === plain) return 'disguised'
  }
  return found
}

const decoded = (text: string): string =>
  text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
