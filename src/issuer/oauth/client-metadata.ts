import { randomBytes } from 'node:crypto'
import { type Client, type ClientAuthentication, grantTypes } from '../../core/issuer-client.ts'

/** RFC 7523, section 2.1. */
export const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
/** The built-in client of those who have none: the token that they want swapped is their credential. */
export const federatedClient = 'federated'
/** Every `grant_type` that is served. */
export const servedGrants: readonly string[] = [...Object.values(grantTypes), jwtBearer]

/**
 * The library wants a secret of its own for every client, which nothing is ever compared with: secrets are compared by the
 * client's own function.
 */
const placeholder = randomBytes(32).toString('base64url')

/** How the library is to authenticate it. */
function authentication(auth: ClientAuthentication): object {
  switch (auth.kind) {
    case 'secret':
      // The library takes the secret from the header or from the body alike.
      return { token_endpoint_auth_method: 'client_secret_basic' }
    case 'private_key_jwt':
      return { token_endpoint_auth_method: 'private_key_jwt', jwks: auth.jwks() }
    case 'mtls':
      return { token_endpoint_auth_method: 'tls_client_auth', [`tls_client_auth_${auth.by}`]: auth.value }
    case 'federated':
      return { token_endpoint_auth_method: 'none' }
  }
}

/**
 * A client as the library knows it (RFC 7591, section 2). Every grant is allowed here: which one a client may use is said by
 * its own `grants`, with the error code of RFC 6749, section 5.2.
 */
export const clientMetadata = ({ id, authentication: auth }: Client): object => ({
  client_id: id,
  client_secret: placeholder,
  redirect_uris: [],
  response_types: [],
  grant_types: [...servedGrants],
  ...authentication(auth),
})
