import { type Grant, grantTypes } from '../../core/issuer-client.ts'
import { signatureAlgorithms } from '../../core/jws.ts'
import { jwtBearer } from './client-metadata.ts'
import { endpointUrl } from './urls.ts'

/** What the policy's clients may do at the moment. */
export interface Offered {
  readonly grants: Iterable<Grant>
  /** Whether tokens of other issuers are swapped without a client. */
  readonly federation: boolean
}

/**
 * What discovery says of the endpoints (RFC 8414, section 2; RFC 8705, section 3.3; RFC 9449, section 5.1).
 * @param mtls whether the listener asks for client certificates
 */
export function tokenServiceMetadata(issuer: string, { grants, federation }: Offered, mtls: boolean): object {
  const offered = new Set<Grant>([...grants, ...(federation ? (['token_exchange'] as const) : [])])
  const proving = ['client_secret_basic', 'client_secret_post', 'private_key_jwt', ...(mtls ? ['tls_client_auth'] : [])]
  return {
    token_endpoint: endpointUrl(issuer, 'token'),
    introspection_endpoint: endpointUrl(issuer, 'introspect'),
    revocation_endpoint: endpointUrl(issuer, 'revoke'),
    grant_types_supported: [
      ...(Object.keys(grantTypes) as Grant[]).filter((grant) => offered.has(grant)).map((grant) => grantTypes[grant]),
      ...(federation ? [jwtBearer] : []),
    ],
    token_endpoint_auth_methods_supported: [...proving, ...(federation ? ['none'] : [])],
    token_endpoint_auth_signing_alg_values_supported: signatureAlgorithms,
    introspection_endpoint_auth_methods_supported: proving,
    introspection_endpoint_auth_signing_alg_values_supported: signatureAlgorithms,
    revocation_endpoint_auth_methods_supported: proving,
    revocation_endpoint_auth_signing_alg_values_supported: signatureAlgorithms,
    ...(mtls && { tls_client_certificate_bound_access_tokens: true }),
    dpop_signing_alg_values_supported: signatureAlgorithms,
  }
}
