import { writeFileSync } from 'node:fs'
import { exportJWK, exportPKCS8, generateKeyPair } from 'jose'
import { freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A client with a key of its own. */
export interface SigningClient {
  readonly key: CryptoKey
  readonly kid: string
  /** Path of the private key as PEM, for other languages. */
  readonly pem: string
}

/** A Postern that issues tokens, and an issuer of users' tokens that it trusts. */
export interface TokenServiceRun {
  readonly postern: RunningPostern
  readonly users: OidcIssuer
  /** What a client library is told, beside its own name and secret. */
  readonly issuer: string
  readonly signing: SigningClient
  readonly stop: () => Promise<void>
}

export const secret = 'a secret of a test, with + and % in it'

/** The issuer's URL has a path, so that every library has to find it where its standard puts it. */
export async function startTokenService(): Promise<TokenServiceRun> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const users = started(await startOidc())
    const [issuer = 0] = await freePorts(1)
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const kid = 'test-1'
    writeFileSync(folder.file('jwks.json'), JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' }] }))
    const pem = folder.file('client.pem')
    writeFileSync(pem, await exportPKCS8(privateKey), { mode: 0o600 })
    writeFileSync(folder.file('secret'), secret, { mode: 0o600 })
    const url = `http://127.0.0.1:${issuer}/sts`
    const postern = await startPostern(
      `
version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  issuer: { address: "127.0.0.1:${issuer}", url: "${url}" }
state: "memory:"
identity:
  - { name: own, type: postern, audience: postern, subject_namespace: "own:" }
  - name: users
    type: oidc
    issuer: ${users.issuer}
    audience: [app]
    claims: { roles: roles }
    subject_namespace: ""
roles: { reader: {} }
issuer:
  clients:
    - id: backend
      auth: { secret: "\${file:${folder.file('secret')}}" }
      grants: [client_credentials, token_exchange]
      scopes: ["read:data:*"]
      audiences: [postern]
      exchange: { audiences: [api], scopes: ["read:data:*"] }
    - id: signer
      auth: { private_key_jwt: { jwks: "${folder.file('jwks.json')}" } }
      grants: [client_credentials]
      audiences: [postern]
routes:
  - { id: read, methods: [GET], path: /data, roles: [reader] }
`,
      { folder },
    )
    started(postern)
    return { postern, users, issuer: url, signing: { key: privateKey, kid, pem }, stop }
  } catch (cause) {
    await stop()
    throw cause
  }
}
