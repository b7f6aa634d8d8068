import { type Context, Hono } from 'hono'
import { routePath } from 'hono/route'
import { jwksMaxAge, type KeyInfo } from '../core/issuer.ts'
import type { KeyAlgorithm } from '../core/ports.ts'
import { wellKnown } from './protected-resource.ts'
import { publicKeysPem } from './public-keys.ts'

export interface IssuerEndpointsOptions {
  /** The `iss` of tokens: what discovery must name, to the letter (OpenID Connect Discovery 1.0, section 4.3). */
  readonly issuer: string
  readonly jwks: () => { readonly keys: readonly object[] }
  /** Metadata of the token service (RFC 8414, section 2); undefined where there is none: then none is named. */
  readonly tokenService?: () => object | undefined
  /** What tokens are signed with, the usual one first; ES256 alone unless given. */
  readonly algorithms?: () => readonly KeyAlgorithm[]
  /** All keys, for those who take them as PEM. */
  readonly keys?: () => readonly KeyInfo[]
  /** Metadata of the API behind the policy by the path that is asked for (RFC 9728); undefined where there is none. */
  readonly protectedResource?: (path: string) => string | undefined
  /** Whether the listener itself speaks TLS, for HSTS. */
  readonly tls: boolean
  /** Told of each request, by the document it was for (never its path), and how long it took in seconds. */
  readonly observe?: (endpoint: string, seconds: number) => void
}

const problem = (status: 404 | 405 | 500, title: string): string => JSON.stringify({ type: 'about:blank', title, status })

/** Claims that tokens of ours may have. */
const claims = [
  ...['iss', 'sub', 'aud', 'exp', 'iat', 'jti'],
  ...['client_id', 'scope', 'roles', 'act', 'cnf', 'task_id', 'orch_id', 'resource'],
]

/**
 * What the issuer listener serves to everybody: discovery and keys, for upstreams that verify downstream tokens, clients that find
 * the token endpoint, and clouds that trust our tokens. Metadata names what exists and no more.
 */
export function issuerEndpoints({
  issuer,
  jwks,
  algorithms = () => ['ES256'],
  keys = () => [],
  tokenService,
  protectedResource,
  tls,
  observe,
}: IssuerEndpointsOptions): Hono {
  const app = new Hono()
  const at = new URL(issuer).pathname.replace(/\/$/, '')
  const metadata = () =>
    JSON.stringify({
      issuer,
      jwks_uri: `${issuer.replace(/\/$/, '')}/jwks.json`,
      // Required by the standard although there is no authorization endpoint; Kubernetes' issuer says the same.
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: algorithms(),
      claims_supported: claims,
      ...tokenService?.(),
    })

  app.use(async (c, next) => {
    const begun = performance.now()
    await next()
    const template = routePath(c)
    observe?.(
      template === '' || template.endsWith('*') || c.req.method !== 'GET' ? 'other' : `GET ${template}`,
      (performance.now() - begun) / 1000,
    )
    c.res.headers.set('x-content-type-options', 'nosniff')
    c.res.headers.set('x-frame-options', 'DENY')
    if (!c.res.headers.has('cache-control')) c.res.headers.set('cache-control', 'no-store')
    if (tls) c.res.headers.set('strict-transport-security', 'max-age=31536000; includeSubDomains')
  })

  const documents: readonly (readonly [path: string, type: string, body: () => string])[] = [
    ['/.well-known/openid-configuration', 'application/json', metadata],
    ['/.well-known/oauth-authorization-server', 'application/json', metadata],
    ['/jwks.json', 'application/jwk-set+json', () => JSON.stringify(jwks())],
  ]
  for (const [path, type, body] of documents) {
    // With a path in the issuer's URL, OpenID Connect puts `.well-known` behind it and RFC 8414, section 3.1 before it.
    for (const place of new Set([path, at + path, path + at])) {
      app.get(place, (c) => c.body(body(), 200, { 'content-type': type, 'cache-control': `public, max-age=${jwksMaxAge}` }))
      app.all(place, onlyGet)
    }
  }
  for (const place of new Set(['/jwks.pem', `${at}/jwks.pem`])) {
    app.get(place, (c) => {
      const { kid, alg } = c.req.query()
      const pem = publicKeysPem(keys(), kid === undefined ? { algorithm: alg ?? algorithms()[0] ?? '' } : { kid })
      if (pem === undefined) return c.notFound()
      return c.body(pem, 200, { 'content-type': 'application/x-pem-file', 'cache-control': `public, max-age=${jwksMaxAge}` })
    })
    app.all(place, onlyGet)
  }
  for (const place of [wellKnown, `${wellKnown}/*`]) {
    app.get(place, (c) => {
      const document = protectedResource?.(c.req.path)
      if (document === undefined) return c.notFound()
      // Pages in browsers discover too: the document is public, and holds nothing of its reader.
      const headers = { 'content-type': 'application/json', 'cache-control': metadataCaching, 'access-control-allow-origin': '*' }
      return c.body(document, 200, headers)
    })
    app.all(place, onlyGet)
  }
  app.notFound((c) => c.body(problem(404, 'Nothing is here'), 404, { 'content-type': problemType }))
  app.onError((_, c) => c.body(problem(500, 'An internal error'), 500, { 'content-type': problemType }))
  return app
}

const problemType = 'application/problem+json'
/** Short: it changes with the policy. */
const metadataCaching = 'public, max-age=60'

const onlyGet = (c: Context) =>
  c.body(problem(405, 'Only GET and HEAD are allowed here'), 405, { 'content-type': problemType, allow: 'GET, HEAD' })
