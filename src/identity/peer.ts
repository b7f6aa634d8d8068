import { X509Certificate } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Workload } from '../core/principal.ts'
import type { Request } from '../core/request.ts'
import { certificateSpiffeId, parseSpiffeId } from '../core/spiffe.ts'

/** Reads the peer of a request; a trust domain that is not among these names nobody. */
export type PeerReader = (request: Request, trustDomains: ReadonlySet<string>) => Workload | undefined

/**
 * The workload that holds the client certificate: by `source.principal`, else by `source.certificate`. Certificates are
 * the same from request to request, so what was read of one is kept by its text.
 */
export function createPeerReader(): PeerReader {
  const read = new LRUCache<string, { readonly workload: Workload | undefined }>({ max: 1000 })
  const byCertificate = (encoded: string): Workload | undefined => {
    if (encoded === '') return undefined
    const known = read.get(encoded)
    if (known) return known.workload
    const workload = fromCertificate(encoded)
    read.set(encoded, { workload })
    return workload
  }
  return ({ peerPrincipal, peerCertificate }, trustDomains) => {
    if (trustDomains.size === 0) return undefined
    const workload = peerPrincipal === '' ? byCertificate(peerCertificate) : parseSpiffeId(peerPrincipal)
    return workload && trustDomains.has(workload.trustDomain) ? workload : undefined
  }
}

/** From Envoy's URL-encoded PEM. */
function fromCertificate(encoded: string): Workload | undefined {
  try {
    return certificateSpiffeId(new X509Certificate(decodeURIComponent(encoded)).subjectAltName)
  } catch {
    return undefined // what is no certificate names nobody
  }
}
