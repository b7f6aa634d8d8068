import type { Edge } from '../core/edge.ts'
import { sameSecret } from '../core/same-secret.ts'
import type { EdgeTrustSettings } from './schema-identity.ts'

/** The headers of an edge, and when they are believed: from its workload, or with its proof; where both are given, with both. */
export function edgeOf({ name, from, proof, headers, claims_from_headers }: EdgeTrustSettings): Edge {
  const workloads = from && new Set(from)
  const names = [...Object.values(headers), ...Object.keys(claims_from_headers)].map((header) => header.toLowerCase())
  const proofHeader = proof?.header.toLowerCase()
  return {
    name,
    headers: [...new Set(names)].filter((header) => header !== 'x-forwarded-client-cert'),
    trusts: (request, workload) => {
      if (workloads && !(workload && workloads.has(workload.id))) return false
      if (proof && proofHeader !== undefined) {
        const shown = request.header(proofHeader)
        if (shown === undefined || !proof.secret.known || !sameSecret(shown, proof.secret.read())) return false
      }
      return workloads !== undefined || proof !== undefined
    },
  }
}
