import { placeNames } from '../config/compile-places.ts'
import type { Loaded } from '../config/read.ts'
import { perObject } from '../core/per-object.ts'
import { type ProtectedResource, protectedResourceDocument } from '../issuer/protected-resource.ts'

/** A scope for which refresh tokens are issued: it is the client's matter, and no resource's. */
const offlineAccess = 'offline_access'

/** What a policy says of its API to clients that have no token yet; undefined where it sends them nowhere. */
function describe({ settings, policy }: Loaded, ownIssuer: string | undefined): ProtectedResource | undefined {
  const { resourceMetadata, realm } = policy.denials
  if (resourceMetadata === undefined) return undefined
  const { identity, dpop } = settings
  const places = new Set(identity.flatMap((entry) => [...placeNames(entry)]))
  const asking = policy.routes.routes.filter((route) => !route.public)
  const scopes = asking.flatMap(({ scopes }) => scopes?.names ?? []).filter((scope) => !scope.includes('{') && scope !== offlineAccess)
  const own = ownIssuer !== undefined && identity.some(({ type }) => type === 'postern') ? [ownIssuer] : []
  return {
    metadataUrl: resourceMetadata,
    authorizationServers: [...new Set([...identity.flatMap((entry) => (entry.type === 'oidc' ? [entry.issuer] : [])), ...own])],
    scopes: [...new Set(scopes)],
    bearerMethods: [...(places.has('authorization') ? (['header'] as const) : []), ...(places.has('query') ? (['query'] as const) : [])],
    name: realm,
    proofAlgorithms: dpop.algorithms,
    proofRequired: asking.length > 0 && asking.every(({ binding }) => binding === 'dpop'),
    certificateBound: asking.some(({ binding }) => binding === 'mtls'),
  }
}

/**
 * Answers for the metadata document of the policy in force (RFC 9728).
 * @param ownIssuer the `iss` of our own tokens, where they can be had
 * @returns a function of the path: JSON, or undefined where there is none for it
 */
export function composeProtectedResource(loaded: () => Loaded, ownIssuer: string | undefined): (path: string) => string | undefined {
  const described = perObject((of: Loaded) => ({ resource: describe(of, ownIssuer) }))
  return (path) => {
    const { resource } = described(loaded())
    return resource && protectedResourceDocument(resource, path)
  }
}
