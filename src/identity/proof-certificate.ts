import { hash, X509Certificate } from 'node:crypto'
import { LRUCache } from 'lru-cache'

/** Client certificates whose thumbprint is remembered: each is the same from request to request. */
const mostCertificates = 5_000

/**
 * Reads `x5t#S256` of client certificates (RFC 8705, section 3.1): base64url of the SHA-256 of the DER.
 * @returns a function of `source.certificate`, URL-encoded PEM: of several certificates the first, which is the client's own;
 *   undefined where it is none
 */
export function createThumbprints(): (encoded: string) => string | undefined {
  const read = new LRUCache<string, { readonly thumbprint: string | undefined }>({ max: mostCertificates })
  return (encoded) => {
    const known = read.get(encoded)
    if (known) return known.thumbprint
    const thumbprint = thumbprintOf(encoded)
    read.set(encoded, { thumbprint })
    return thumbprint
  }
}

function thumbprintOf(encoded: string): string | undefined {
  try {
    return hash('sha256', new X509Certificate(decodeURIComponent(encoded)).raw, 'base64url')
  } catch {
    return undefined // what is no certificate proves nothing
  }
}
