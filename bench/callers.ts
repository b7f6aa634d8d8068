import { generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { job } from './policy.ts'

/** Signs the tokens of the captured user, RS256 as Keycloak does, with a key made for this run. */
export interface TokenMaker {
  /** JWK set (RFC 7517), for Envoy or the key set's address. */
  readonly jwks: string
  /** The claims of such a token. */
  readonly claims: () => object
  /** A token with a `jti` of its own. @param issuer absent: the captured one */
  readonly token: (issuer?: string) => string
}

const kid = 'bench'
const lifetime = 3 * 3600

/** Makes a key and what signs with it. */
export function createTokenMaker(): TokenMaker {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }
  return {
    jwks: JSON.stringify({ keys: [jwk] }),
    claims: () => claims(job.issuer),
    token: (issuer = job.issuer) => signed(claims(issuer), privateKey),
  }
}

/** The captured user's claims, with times of now. */
function claims(issuer: string): object {
  const now = Math.floor(Date.now() / 1000)
  const session = '7b1f6f0e-77a2-4f4e-9d0c-0b1f5ce0a777'
  return {
    exp: now + lifetime,
    iat: now - 5,
    auth_time: now - 5,
    jti: randomUUID(),
    iss: issuer,
    aud: [job.audience, 'account'],
    sub: job.subject,
    typ: 'Bearer',
    azp: 'sandbox-cli',
    session_state: session,
    acr: '1',
    realm_access: { roles: ['offline_access', 'uma_authorization', 'developer', 'default-roles-acme'] },
    resource_access: { account: { roles: ['manage-account', 'view-profile'] } },
    scope: 'openid email profile',
    sid: session,
    email_verified: true,
    name: 'Ada Lovelace',
    preferred_username: 'ada',
    given_name: 'Ada',
    family_name: 'Lovelace',
    email: 'ada@example.com',
  }
}

/** RFC 7515, compact serialization. */
function signed(payload: object, key: KeyObject): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const input = `${part({ alg: 'RS256', typ: 'JWT', kid })}.${part(payload)}`
  return `${input}.${sign('sha256', Buffer.from(input), key).toString('base64url')}`
}

/** A small OpenID Connect issuer on loopback: discovery and keys. */
export async function startIssuer(jwks: string): Promise<{ readonly url: string; readonly stop: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const body =
      request.url === '/.well-known/openid-configuration'
        ? JSON.stringify({ issuer: url, jwks_uri: `${url}/jwks` })
        : request.url === '/jwks'
          ? jwks
          : undefined
    response.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(body)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    url,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
