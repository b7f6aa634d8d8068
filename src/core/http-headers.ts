/** Headers of every answer of our HTTP listeners. @param secure whether the connection is TLS: HSTS belongs there alone (RFC 6797, section 7.2) */
export function setSafeHeaders(headers: Headers, secure: boolean): void {
  headers.set('x-content-type-options', 'nosniff')
  headers.set('x-frame-options', 'DENY')
  headers.set('cache-control', 'no-store')
  if (secure) headers.set('strict-transport-security', 'max-age=31536000; includeSubDomains')
}
