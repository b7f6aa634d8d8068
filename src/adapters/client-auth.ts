import { createPrivateKey, randomUUID } from 'node:crypto'
import { SignJWT } from 'jose'

/** How the client proves itself at the token endpoint. Secrets are read anew for each call, since they may be rotated. */
export type ClientAuth =
  /** client_secret_basic (RFC 6749, section 2.3.1). */
  | { readonly method: 'secret'; readonly secret: () => string }
  /** private_key_jwt (RFC 7523, section 2.2); PKCS #8 PEM. */
  | {
      readonly method: 'private_key_jwt'
      readonly key: () => string
      readonly kid?: string
      readonly alg?: 'RS256' | 'PS256' | 'ES256' | 'EdDSA'
    }
  /** Mutual TLS (RFC 8705, section 2), by the certificate of the HTTP client. */
  | { readonly method: 'mtls' }

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'

/** A client at an authorization server. */
export interface ClientIdentity {
  readonly auth: ClientAuth
  readonly clientId: string
  /** What names the server in an assertion's `aud` (RFC 7523, section 3): its token endpoint or its issuer. */
  readonly server: string
}

/**
 * Adds what proves the client: to the form, or as a header.
 * @returns the headers of the request
 * @throws where the credential cannot be read or used
 */
export async function authenticate({ auth, clientId, server }: ClientIdentity, form: URLSearchParams): Promise<Record<string, string>> {
  const headers: Record<string, string> = { 'content-type': 'application/x-www-form-urlencoded' }
  if (auth.method === 'secret') {
    // Each half is form-encoded before the two are joined (RFC 6749, section 2.3.1).
    const pair = `${formEncode(clientId)}:${formEncode(auth.secret())}`
    return { ...headers, authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
  }
  form.set('client_id', clientId)
  if (auth.method === 'private_key_jwt') {
    const key = createPrivateKey(auth.key())
    const alg = auth.alg ?? defaultAlgorithm(key.asymmetricKeyType)
    const assertion = await new SignJWT({})
      .setProtectedHeader({ alg, typ: 'JWT', ...(auth.kid !== undefined && { kid: auth.kid }) })
      .setIssuer(clientId)
      .setSubject(clientId)
      .setAudience(server)
      .setJti(randomUUID())
      .setIssuedAt()
      .setExpirationTime('60s')
      .sign(key)
    form.set('client_assertion_type', assertionType)
    form.set('client_assertion', assertion)
  }
  return headers
}

const formEncode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)

const defaultAlgorithm = (type: string | undefined): string => (type === 'rsa' ? 'RS256' : type === 'ed25519' ? 'EdDSA' : 'ES256')
