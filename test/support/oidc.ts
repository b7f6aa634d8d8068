import { createServer, type RequestListener } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, SignJWT } from 'jose'

export type Algorithm = 'RS256' | 'ES256' | 'EdDSA'

/** How an issuer answers: as it should, not at all, with 500, or with what is no JSON. */
export type Behaviour = 'well' | 'hangs' | 'fails' | 'garbage'

export interface MintOptions {
  /** Default: the first algorithm. */
  readonly algorithm?: Algorithm
  /** Merged over `{ alg, kid, typ: 'JWT' }`; undefined drops a member. */
  readonly header?: Readonly<Record<string, unknown>>
  /** Signs with this key instead, under the same kid: a forgery. */
  readonly key?: CryptoKey
}

export interface OidcIssuer {
  /** The `iss` of its tokens. */
  readonly issuer: string
  readonly port: number
  readonly jwksUri: string
  /** Key ids that the JWKS now shows. */
  readonly keyIds: () => string[]
  /**
   * Makes a signed token. `iss`, `iat` and `exp` (in 5 minutes) are filled in; a claim of undefined is left out.
   * Nothing else is: a test says its own `sub`, `aud` and roles.
   */
  readonly mint: (claims: Readonly<Record<string, unknown>>, options?: MintOptions) => Promise<string>
  /** New keys from now on; the old ones leave the JWKS unless `keep`. */
  readonly rotate: (keep?: boolean) => Promise<void>
  readonly behave: (behaviour: Behaviour) => void
  /** How often each path was asked for. */
  readonly asked: ReadonlyMap<string, number>
  readonly stop: () => Promise<void>
}

interface SigningKey {
  readonly algorithm: Algorithm
  readonly kid: string
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}

/**
 * Starts a small OpenID Connect issuer on 127.0.0.1: discovery, JWKS, and tokens minted by the test.
 * @param options `issuer`: the `iss` to use instead of its own URL, for an Envoy file that names another host;
 *   `jwksPath`: where the keys are; `tls`: https with this certificate
 */
export async function startOidc(
  options: { issuer?: string; jwksPath?: string; algorithms?: readonly Algorithm[]; tls?: { certPem: string; keyPem: string } } = {},
): Promise<OidcIssuer> {
  const { algorithms = ['RS256', 'ES256'], jwksPath = '/jwks', tls } = options
  let generation = 0
  let current: SigningKey[] = await makeKeys(algorithms, generation)
  let published = current
  let behaviour: Behaviour = 'well'
  const asked = new Map<string, number>()
  const listener: RequestListener = (request, response) => {
    const path = request.url ?? ''
    asked.set(path, (asked.get(path) ?? 0) + 1)
    if (behaviour === 'hangs') return
    if (behaviour === 'fails') return void response.writeHead(500).end()
    if (behaviour === 'garbage') return void response.writeHead(200, { 'content-type': 'application/json' }).end('{"keys":')
    const body = documents().get(path)
    if (body === undefined) return void response.writeHead(404).end()
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  const server = tls ? createTlsServer({ cert: tls.certPem, key: tls.keyPem }, listener) : createServer(listener)
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const { port } = server.address() as AddressInfo
  const base = `${tls ? 'https' : 'http'}://127.0.0.1:${port}`
  const issuer = options.issuer ?? base
  const jwksUri = `${base}${jwksPath}`
  const documents = (): Map<string, unknown> =>
    new Map<string, unknown>([
      [jwksPath, { keys: published.map(({ jwk }) => jwk) }],
      [`${options.issuer === undefined ? '' : new URL(issuer).pathname.replace(/\/$/, '')}/.well-known/openid-configuration`, discovery()],
    ])
  const discovery = () => ({
    issuer,
    jwks_uri: jwksUri,
    token_endpoint: `${base}/token`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: algorithms,
  })
  return {
    issuer,
    port,
    jwksUri,
    asked,
    keyIds: () => published.map(({ kid }) => kid),
    mint: async (claims, { algorithm = algorithms[0]!, header = {}, key } = {}) => {
      const signer = current.find((one) => one.algorithm === algorithm)
      if (!signer) throw new Error(`this issuer signs with ${algorithms.join(', ')}, not ${algorithm}`)
      const now = Math.floor(Date.now() / 1000)
      const jwt = new SignJWT(defined({ iss: issuer, iat: now, exp: now + 300, ...claims }))
      jwt.setProtectedHeader(defined({ alg: algorithm, kid: signer.kid, typ: 'JWT', ...header }) as unknown as JWTHeaderParameters)
      return jwt.sign(key ?? signer.privateKey)
    },
    rotate: async (keep = false) => {
      const before = published
      current = await makeKeys(algorithms, ++generation)
      published = keep ? [...current, ...before] : current
    },
    behave: (next) => {
      behaviour = next
    },
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}

/**
 * A token made by hand, for what no library would sign: `alg: none`, DER signatures, broken JSON.
 * @param signature bytes, or none
 */
export function handMadeToken(header: object | string, payload: object | string, signature: Uint8Array = new Uint8Array()): string {
  const part = (value: object | string) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
  return `${part(header)}.${part(payload)}.${Buffer.from(signature).toString('base64url')}`
}

function makeKeys(algorithms: readonly Algorithm[], generation: number): Promise<SigningKey[]> {
  return Promise.all(
    algorithms.map(async (algorithm) => {
      const kid = `${algorithm.toLowerCase()}-${generation}`
      const { privateKey, publicKey } = await generateKeyPair(algorithm, { extractable: true })
      return { algorithm, kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: algorithm, use: 'sig' } }
    }),
  )
}

const defined = (members: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined))
