import { percentDecode } from './percent.ts'

/** Where credentials are looked for beside `Authorization`: what validators name, each stripped before the upstream. */
export interface CredentialPlaces {
  /** Header names in lower case, such as `x-api-key`. */
  readonly headers: readonly string[]
  /** Cookie names. */
  readonly cookies: readonly string[]
  /** The query parameter `access_token` (RFC 6750, section 2.3). */
  readonly query: boolean
  /** `Sec-WebSocket-Protocol: bearer.<token>`. */
  readonly websocket: boolean
}

export const noPlaces: CredentialPlaces = { headers: [], cookies: [], query: false, websocket: false }

/** A credential that stands elsewhere than in `Authorization`. */
export interface PlacedToken {
  /** As validators name it: `header:NAME`, `cookie:NAME`, `query` or `websocket`. */
  readonly place: string
  readonly token: string
}

/** Whether there is any place to look into but `Authorization`. */
export const hasPlaces = ({ headers, cookies, query, websocket }: CredentialPlaces): boolean =>
  query || websocket || headers.length > 0 || cookies.length > 0

/**
 * The values of one cookie. A comma ends a cookie here too, although RFC 6265 gives it no meaning: two `Cookie` fields may
 * have been joined by one, and no credential holds it.
 * @param cookies the `Cookie` header
 */
export function cookieValues(cookies: string, name: string): string[] {
  const found: string[] = []
  if (!cookies.includes(name)) return found
  for (const pair of cookies.split(/[;,]/)) {
    const equals = pair.indexOf('=')
    if (equals >= 0 && pair.slice(0, equals).trim() === name) found.push(pair.slice(equals + 1).trim())
  }
  return found
}

/** What may be written into a header again. */
const visible = /^[\t\x20-\x7e]*$/

/**
 * A `Cookie` header without some cookies. Where one is taken out, what could not be written again as it is goes too.
 * @returns the same text where it holds none of them; empty where nothing is left
 */
export function withoutCookies(cookies: string, names: readonly string[]): string {
  if (!names.some((name) => cookies.includes(name))) return cookies
  // Each pair is taken apart once: a client may send thousands.
  const clear = visible.test(cookies)
  const rest: string[] = []
  let found = false
  for (const piece of cookies.split(';')) {
    const pair = piece.trim()
    if (holds(pair, names)) found = true
    else if (pair !== '' && (clear || visible.test(pair))) rest.push(pair)
  }
  return found ? rest.join('; ') : cookies
}

/** Whether one of the cookies, which a comma may have joined, has one of the names. */
function holds(pair: string, names: readonly string[]): boolean {
  const cookie = (one: string): boolean => {
    const equals = one.indexOf('=')
    return equals >= 0 && names.includes(one.slice(0, equals).trim())
  }
  return pair.includes(',') ? pair.split(',').some(cookie) : cookie(pair)
}

/** Scheme names have no case (RFC 9110, section 11.1): an upstream could take any spelling for the credential. */
const bearerProtocol = /^bearer\./i

/** The tokens among the subprotocols that a WebSocket client offers (RFC 6455, section 4.1). */
export function protocolTokens(protocols: string): string[] {
  const found: string[] = []
  for (const offered of protocols.split(',')) {
    const protocol = offered.trim()
    if (bearerProtocol.test(protocol)) found.push(protocol.slice('bearer.'.length))
  }
  return found
}

/** `Sec-WebSocket-Protocol` without the tokens; empty where no other subprotocol was offered. */
export const withoutTokens = (protocols: string): string =>
  protocols
    .split(',')
    .map((offered) => offered.trim())
    .filter((protocol) => protocol !== '' && visible.test(protocol) && !bearerProtocol.test(protocol))
    .join(', ')

/** What stands for a value that cannot be decoded: no token holds it. */
const notDecoded = '%'

/** The values of `access_token` in a query, percent-decoded. @param query without the `?` */
export function queryTokens(query: string): string[] {
  const found: string[] = []
  for (const part of query.split('&')) {
    const equals = part.indexOf('=')
    if ((equals < 0 ? part : part.slice(0, equals)) !== 'access_token') continue
    found.push(equals < 0 ? '' : (percentDecode(part.slice(equals + 1)) ?? notDecoded))
  }
  return found
}
