/**
 * URIs of requests as `htu` of a DPoP proof compares them (RFC 9449, section 4.3, item 9): without query and fragment, in
 * the normal form of RFC 3986, sections 6.2.2 and 6.2.3.
 */

export type OuterScheme = 'http' | 'https'

const uriForm = /^([A-Za-z]+):\/\/([^/?#]*)([^?#]*)/
// User information, and host names with percent-encoding, are in no request that comes this far.
const authorityForm = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::([0-9]{0,5}))?$/
const pathForm = /^(?:\/(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})*)?$/
const escapes = /%[0-9A-Fa-f]{2}/g
const unreserved = /^[A-Za-z0-9\-._~]$/
const defaultPorts: Readonly<Record<OuterScheme, number>> = { http: 80, https: 443 }

/**
 * The normal form of a URI that a client names.
 * @returns undefined where it is no absolute http or https URI
 */
export function normalUri(uri: string): string | undefined {
  const [, scheme = '', authority = '', path = ''] = uriForm.exec(uri) ?? []
  const lower = scheme.toLowerCase()
  return lower === 'http' || lower === 'https' ? targetUri(lower, authority, path) : undefined
}

/**
 * The normal form of the URI that a request was sent to.
 * @param authority `Host` or `:authority`, as sent
 * @param path before the `?`
 * @returns undefined where they make no URI
 */
export function targetUri(scheme: OuterScheme, authority: string, path: string): string | undefined {
  const [, host, port] = authorityForm.exec(authority) ?? []
  if (host === undefined || !pathForm.test(path)) return undefined
  const number = port === undefined || port === '' ? defaultPorts[scheme] : Number(port)
  return `${scheme}://${host.toLowerCase()}${number === defaultPorts[scheme] ? '' : `:${number}`}${normalPath(path)}`
}

function normalPath(path: string): string {
  const plain = path.replace(escapes, (octet) => {
    const character = String.fromCharCode(Number.parseInt(octet.slice(1), 16))
    return unreserved.test(character) ? character : octet.toUpperCase()
  })
  const segments: string[] = []
  const given = plain.slice(1).split('/')
  for (const [i, segment] of given.entries()) {
    const dots = segment === '.' || segment === '..'
    if (segment === '..') segments.pop()
    if (!dots) segments.push(segment)
    else if (i === given.length - 1) segments.push('')
  }
  return `/${segments.join('/')}`
}
