import type { ServerResponse } from 'node:http'
import type { Adapter, Context } from 'oidc-provider/lib/provider.js'
import type { OwnToken } from '../../core/issuer.ts'
import type { Client } from '../../core/issuer-client.ts'
import { signatureAlgorithms } from '../../core/jws.ts'
import { clockSkew } from '../../core/jwt.ts'
import { type ReplayStore, type Soon, Unavailable } from '../../core/ports.ts'
import { systemCode } from '../../core/system-code.ts'
import type { Grants } from '../grants.ts'
import { certificateNames, clientCertificate } from './certificate.ts'
import { clientMetadata } from './client-metadata.ts'
import { grantHandlers } from './grant-handlers.ts'
import { type Call, callOf, type RelayedRequest } from './relayed.ts'
import { kindOf, mayIntrospect, mayRevoke, storedToken } from './shown-token.ts'
import { endpointUrl } from './urls.ts'

/** What the protocol asks of the rest of the issuer. */
export interface ProtocolNeeds {
  /** The `iss` of tokens, and where the endpoints are. */
  readonly issuer: string
  /** @returns undefined for a client that nobody knows. @throws {Unavailable} */
  readonly clients: (id: string) => Soon<Client | undefined>
  readonly grants: Grants
  /** Verifies a token of our own. @param now milliseconds since the epoch @throws {Unavailable} while there are no keys */
  readonly verify: (token: string, now: number) => OwnToken | undefined
  /** Whether it was revoked at any level, or is a refresh token that was used. @throws {Unavailable} */
  readonly isRevoked: (token: OwnToken) => Soon<boolean>
  /** Revokes this one token; durable, and in the audit trail, when it resolves. @throws {Unavailable} */
  readonly revoke: (token: OwnToken, client: Client) => Promise<void>
  readonly replays: ReplayStore
  /** Told of each failed client authentication before it is answered; what it rejects with is a fault, and the answer the same. */
  readonly onUnproved?: (call: Call) => Promise<void>
  /** Told of what should not have happened. */
  readonly onFault: (cause: unknown) => void
}

/** Answers a request to one of the endpoints. */
export type Protocol = (request: RelayedRequest, response: ServerResponse) => Promise<void>

/** Seconds: a client's assertion that lives longer is refused, since it has to be remembered for as long. */
const maxAssertionLife = 3600
const maxClientId = 256

/** Loads the library, which costs 12 MB and an eighth of a second, and has it ask our functions for everything that is kept. */
export async function openProtocol(needs: ProtocolNeeds): Promise<Protocol> {
  const { issuer } = needs
  // Not by its front door, which warns on the console of any Node.js that is no LTS release.
  const [{ Provider }, { InvalidClientAuth, OIDCProviderError }] = await Promise.all([
    import('oidc-provider/lib/provider.js'),
    import('oidc-provider/lib/helpers/errors.js'),
  ])
  /** @param description told to the client; `server_error` and its like are the library's to word */
  const refusal = (status: number, error: string, description?: string): Error =>
    Object.assign(new OIDCProviderError(status, error), {
      expose: true,
      ...(description !== undefined && { error_description: description }),
    })
  const available = async <T>(work: () => Soon<T>): Promise<T> => {
    try {
      return await work()
    } catch (cause) {
      throw cause instanceof Unavailable ? refusal(503, 'temporarily_unavailable') : cause
    }
  }

  const findClient = async (id: string): Promise<object | undefined> => {
    const client = id.length > maxClientId ? undefined : await available(() => needs.clients(id))
    if (client) callOf(Provider.ctx).client = client
    return client && clientMetadata(client)
  }
  const findShown = (): Promise<object | undefined> =>
    available(async () => {
      const call = callOf(Provider.ctx)
      if (call.shown === undefined) return undefined
      const revoking = call.endpoint === 'revoke'
      // The edge admits a token for a while after its end, and so it can be revoked for as long.
      const token = needs.verify(call.shown, revoking ? call.now - clockSkew * 1000 : call.now)
      if (!token || (!revoking && (await needs.isRevoked(token)))) return undefined
      call.token = token
      return storedToken(token)
    })
  const revokeShown = (): Promise<void> =>
    available(async () => {
      const { token, client } = callOf(Provider.ctx)
      if (token && client) await needs.revoke(token, client)
    })
  const claim = (id: string, expiresIn: number): Promise<void> =>
    available(async () => {
      const until = Math.ceil(callOf(Provider.ctx).now / 1000) + expiresIn
      if (!(await needs.replays.claim(`client-${id}`, until))) throw new InvalidClientAuth('the assertion was shown before')
    })
  const nothing = async (): Promise<undefined> => undefined
  const adapters: Partial<Record<string, Adapter>> = {
    Client: { find: findClient, upsert: nothing, destroy: nothing },
    AccessToken: { find: findShown, upsert: nothing, destroy: revokeShown },
    // Claimed in one step, and so never looked up before.
    ReplayDetection: { find: nothing, upsert: (id, _, expiresIn) => claim(id, expiresIn), destroy: nothing },
  }
  const allowed = (may: (client: Client, token: OwnToken) => boolean) => (ctx: Context) => {
    const { client, token } = callOf(ctx)
    return client !== undefined && token !== undefined && may(client, token)
  }

  const provider = new Provider(issuer, {
    ...settings,
    adapter: (model: string): Adapter => adapters[model] ?? { find: nothing, upsert: nothing, destroy: nothing },
    assertJwtClientAuthClaimsAndHeader: async (ctx: Context, { exp }: { exp: number }) => {
      if (exp > callOf(ctx).now / 1000 + maxAssertionLife) throw new InvalidClientAuth('the assertion lives too long')
    },
    features: {
      ...unused,
      introspection: { enabled: true, allowedPolicy: allowed(mayIntrospect) },
      revocation: { enabled: true, allowedPolicy: allowed(mayRevoke) },
      mTLS: {
        enabled: true,
        tlsClientAuth: true,
        getCertificate: (ctx: Context) => clientCertificate(callOf(ctx).socket),
        // Only one that was verified is ever given.
        certificateAuthorized: () => true,
        certificateSubjectMatches: (ctx: Context) => {
          const { client, socket } = callOf(ctx)
          const certificate = clientCertificate(socket)
          return client?.authentication.kind === 'mtls' && certificate !== undefined && certificateNames(certificate, client.authentication)
        },
      },
    },
  })
  provider.Client.prototype.compareClientSecret = (shown) => {
    const auth = callOf(Provider.ctx).client?.authentication
    return auth?.kind === 'secret' && auth.matches(shown)
  }
  provider.OIDCContext.prototype.clientJwtAuthExpectedAudience = () =>
    new Set([issuer, endpointUrl(issuer, 'token'), endpointUrl(issuer, callOf(Provider.ctx).endpoint)])
  for (const { grantType, parameters, repeated, handle } of grantHandlers(needs.grants, issuer, refusal)) {
    provider.registerGrantType(grantType, (ctx) => available(() => handle(ctx)), parameters, repeated)
  }
  provider.use((ctx, next) => finished(ctx, next, needs))
  provider.on('error', (cause, ctx) => {
    // Whoever does not wait for the answer is no fault of ours, and would fill the log.
    if (!(ctx && hasGone(callOf(ctx), cause))) needs.onFault(cause)
  })
  provider.on('server_error', (_, cause) => needs.onFault(cause))
  return provider.callback()
}

/** How a connection tells that its other side is away. */
const gone: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ECONNABORTED', 'ETIMEDOUT', 'ERR_STREAM_DESTROYED'])
const hasGone = ({ socket }: Call, cause: unknown): boolean => socket.destroyed && cause instanceof Error && gone.has(systemCode(cause))

/** What every answer has in common, whatever the library made of it. */
async function finished(
  ctx: Context,
  next: () => Promise<void>,
  { onFault, onUnproved }: Pick<ProtocolNeeds, 'onFault' | 'onUnproved'>,
): Promise<void> {
  try {
    await next()
  } catch (cause) {
    onFault(cause)
    ctx.status = 500
  }
  const call = callOf(ctx)
  const { endpoint, token } = call
  // No browser's script has any business here: not even to be told that it may ask.
  for (const name of ['access-control-allow-origin', 'access-control-expose-headers', 'vary']) ctx.remove(name)
  ctx.set('cache-control', 'no-store')
  if (endpoint === 'token') ctx.set('pragma', 'no-cache')
  if (ctx.status === 503) ctx.set('retry-after', '1')
  const body = ctx.body as { error?: string; active?: boolean; token_type?: string } | undefined
  if (ctx.status === 400 && body?.error === 'invalid_client_metadata') {
    // A client that the library cannot take, such as one whose key set is broken, has no way to prove who it is.
    onFault(new Error(`a client of the policy cannot be used: ${JSON.stringify(body)}`))
    ctx.status = 401
    ctx.body = { error: 'invalid_client', error_description: 'client authentication failed' }
  } else if (ctx.status >= 500) ctx.body = { error: ctx.status === 503 ? 'temporarily_unavailable' : 'server_error' }
  else if (body?.active && token && kindOf(token) === 'refresh') delete body.token_type
  if (ctx.status === 401) await onUnproved?.(call).catch(onFault)
}

/** Nothing of OpenID Connect's, nothing that signs, and no page. */
const settings = {
  // Without a key of its own it cannot sign anything.
  jwks: { keys: [] },
  responseTypes: [],
  scopes: [],
  claims: {},
  // Never used; the library wants one that needs no key.
  clientDefaults: { id_token_signed_response_alg: 'HS256' },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'tls_client_auth', 'none'],
  enabledJWA: {
    idTokenSigningAlgValues: ['HS256'],
    clientAuthSigningAlgValues: signatureAlgorithms,
  },
  routes: { token: '/token', introspection: '/introspect', revocation: '/revoke' },
}
const off = { enabled: false }
const unused = {
  clientCredentials: off,
  devInteractions: off,
  // Proofs are the grants' own.
  dPoP: off,
  pushedAuthorizationRequests: off,
  resourceIndicators: off,
  rpInitiatedLogout: off,
  userinfo: off,
}
