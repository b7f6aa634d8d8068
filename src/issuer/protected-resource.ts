/** What a client may know of the API behind the policy before it has a token. */
export interface ProtectedResource {
  /** `denials.resource_metadata`: where clients are sent for the document. */
  readonly metadataUrl: string
  /** Issuers whose tokens are admitted, in the order of the policy. */
  readonly authorizationServers: readonly string[]
  /** Scopes that routes demand, without those that hold a parameter of the path. */
  readonly scopes: readonly string[]
  /** Of RFC 6750, section 2. */
  readonly bearerMethods: readonly ('header' | 'query')[]
  readonly name: string
  /** JWS algorithms of DPoP proofs. */
  readonly proofAlgorithms: readonly string[]
  /** Whether every route that asks for somebody demands a DPoP proof. */
  readonly proofRequired: boolean
  /** Whether tokens that are bound to a client certificate are asked for (RFC 8705, section 3). */
  readonly certificateBound: boolean
}

export const wellKnown = '/.well-known/oauth-protected-resource'

/**
 * The identifier of the resource that a metadata URL is for: the well-known part stands between host and path
 * (RFC 9728, section 3.1). A URL that has it nowhere is for its whole origin.
 */
export function resourceOf(metadataUrl: string): string {
  const { origin, pathname, search } = new URL(metadataUrl)
  if (pathname !== wellKnown && !pathname.startsWith(`${wellKnown}/`)) return origin
  return origin + pathname.slice(wellKnown.length) + search
}

/**
 * The metadata document (RFC 9728, section 2).
 * @param path of the request, at or below {@link wellKnown}
 * @returns JSON; undefined where the path is for another resource, whose metadata this is not (section 3.3)
 */
export function protectedResourceDocument(resource: ProtectedResource, path: string): string | undefined {
  const identifier = resourceOf(resource.metadataUrl)
  const { pathname } = new URL(identifier)
  if (path !== wellKnown && path !== wellKnown + (pathname === '/' ? '' : pathname)) return undefined
  const { authorizationServers, scopes, bearerMethods, name, proofAlgorithms, proofRequired, certificateBound } = resource
  return JSON.stringify({
    resource: identifier,
    ...(authorizationServers.length > 0 ? { authorization_servers: authorizationServers } : {}),
    ...(scopes.length > 0 ? { scopes_supported: scopes } : {}),
    bearer_methods_supported: bearerMethods,
    resource_name: name,
    ...(proofAlgorithms.length > 0 ? { dpop_signing_alg_values_supported: proofAlgorithms } : {}),
    ...(proofRequired ? { dpop_bound_access_tokens_required: true } : {}),
    ...(certificateBound ? { tls_client_certificate_bound_access_tokens: true } : {}),
  })
}
