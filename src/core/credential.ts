import { hash } from 'node:crypto'
import type { PlacedToken } from './credential-places.ts'
import { claimedIssuer, parseJwt } from './jwt.ts'
import type { Credential, UnverifiedJwt } from './validator.ts'

/** What tokens say whose they are, by their digests: read once, however often a token comes. Empty: nobody's. */
export interface ClaimedIssuers {
  readonly get: (digest: string) => string | undefined
  readonly set: (digest: string, issuer: string) => unknown
}

/**
 * Reads the presented `Authorization` (RFC 9110, section 11.6.2): the scheme is what stands before the first
 * space, in lower case; the token is all that follows that one space, untouched.
 * @param authorization the header's value as sent; undefined where the credential stands elsewhere
 * @param issuers remembers from one request to the next; absent: nothing is
 * @param elsewhere where else the same token stands
 */
export function readCredential(
  authorization: string | undefined,
  issuers?: ClaimedIssuers,
  elsewhere?: readonly PlacedToken[],
): Credential {
  if (authorization === undefined) {
    const token = elsewhere?.[0]?.token ?? ''
    const places = elsewhere?.map(({ place }) => place) ?? []
    return new PresentedCredential(undefined, places.length === 0 ? '' : 'bearer', token, places, issuers)
  }
  const space = authorization.indexOf(' ')
  const scheme = space > 0 ? authorization.slice(0, space).toLowerCase() : ''
  const places = elsewhere && elsewhere.length > 0 ? ['authorization', ...elsewhere.map(({ place }) => place)] : inAuthorization
  return new PresentedCredential(authorization, scheme, space > 0 ? authorization.slice(space + 1) : '', places, issuers)
}

/** Whether it is a token in one of the two schemes that carry one (RFC 6750, RFC 9449), or stands where only tokens do. */
export const isBearer = ({ scheme }: Credential): boolean => scheme === 'bearer' || scheme === 'dpop'

/** A credential that another one held: what `Authorization: Basic` has for its password. */
export const unwrappedCredential = (outer: Credential, token: string, issuers?: ClaimedIssuers): Credential =>
  new PresentedCredential(`Bearer ${token}`, 'bearer', token, outer.places, issuers)

const inAuthorization: readonly string[] = ['authorization']

/** Characters of a claimed issuer. */
const longestRemembered = 512

class PresentedCredential implements Credential {
  readonly authorization: string | undefined
  readonly places: readonly string[]
  readonly scheme: string
  readonly token: string
  // Taken apart when first asked for: a token that a validator remembers by its digest never is.
  #jwt: UnverifiedJwt | undefined
  #parsed = false
  #digest: string | undefined
  readonly #issuers: ClaimedIssuers | undefined

  constructor(
    authorization: string | undefined,
    scheme: string,
    token: string,
    places: readonly string[],
    issuers: ClaimedIssuers | undefined,
  ) {
    this.#issuers = issuers
    this.authorization = authorization
    this.places = places
    this.scheme = scheme
    this.token = token
  }

  get jwt(): UnverifiedJwt | undefined {
    if (!this.#parsed) {
      this.#parsed = true
      this.#jwt = this.token === '' ? undefined : parseJwt(this.token)
    }
    return this.#jwt
  }

  get digest(): string {
    this.#digest ??= hash('sha256', this.token)
    return this.#digest
  }

  get claimedIssuer(): string | undefined {
    let issuer = this.#issuers?.get(this.digest)
    if (issuer === undefined) {
      issuer = this.#readIssuer() ?? ''
      // Nobody has verified it: what is remembered of strangers is short.
      if (issuer.length <= longestRemembered) this.#issuers?.set(this.digest, issuer)
    }
    return issuer === '' ? undefined : issuer
  }

  #readIssuer(): string | undefined {
    if (!this.jwt) return claimedIssuer(this.token)
    const { iss } = this.jwt.payload
    return typeof iss === 'string' ? iss : undefined
  }
}

const plain = 'access_token'
/** As it stands, or escaped: hexadecimal digits have no case, and names have. */
const either = (char: string): string =>
  `(?:${/\w/.test(char) ? char : `\\${char}`}|%${char
    .charCodeAt(0)
    .toString(16)
    .replace(/[a-f]/, (digit) => `[${digit}${digit.toUpperCase()}]`)})`
/** It in any spelling. Many take one more `?` away where they are handed a query without its own. */
const disguise = new RegExp(`^${either('?')}*${[...plain].map(either).join('')}$`)

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
    else if (disguise.test(name)) return 'disguised'
  }
  return found
}
