import { hash } from 'node:crypto'
import type { Context } from 'oidc-provider/lib/provider.js'
import { type Grant, grantTypes } from '../../core/issuer-client.ts'
import type { GrantError, GrantRequest, Grants } from '../grants.ts'
import { clientCertificate } from './certificate.ts'
import { jwtBearer } from './client-metadata.ts'
import { callOf } from './relayed.ts'
import { endpointUrl } from './urls.ts'

/** A grant as the library takes it. */
export interface GrantHandler {
  readonly grantType: string
  readonly parameters: readonly string[]
  /** Those that may come several times (RFC 8693, section 2.1; RFC 8707, section 2). */
  readonly repeated: readonly string[]
  readonly handle: (ctx: Context) => Promise<void>
}

const target = ['resource', 'audience']
const parameters: Readonly<Record<Grant, readonly string[]>> = {
  client_credentials: ['scope', ...target],
  token_exchange: ['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type', 'requested_token_type', 'scope', ...target],
  refresh_token: ['refresh_token', 'scope', ...target],
}
const jwtType = 'urn:ietf:params:oauth:token-type:jwt'

/** RFC 6749, section 5.2, but where state is away. */
const statusOf = (error: GrantError): number => (error === 'invalid_client' ? 401 : error === 'temporarily_unavailable' ? 503 : 400)

/**
 * The grants behind the token endpoint. A grant that is not among the client's is refused here, since the library's own answer
 * has another code.
 * @param refusal makes an error that the library answers with
 */
export function grantHandlers(
  grants: Grants,
  issuer: string,
  refusal: (status: number, error: string, description: string) => Error,
): readonly GrantHandler[] {
  const answer = async (ctx: Context, grant: Grant, params: GrantRequest['params']): Promise<void> => {
    const { client, dpop, socket, remoteAddress, now } = callOf(ctx)
    // The library has authenticated this very client: anything else is a fault of the program.
    if (!client || client.id !== ctx.oidc.client.clientId) throw new Error('a grant without its client')
    if (!client.grants.includes(grant)) throw refusal(400, 'unauthorized_client', 'this grant is not allowed to the client')
    const certificate = clientCertificate(socket)?.raw
    const proof = { dpop, certificate: certificate && hash('sha256', certificate, 'base64url'), url: endpointUrl(issuer, 'token') }
    const answered = await grants[grant]({ client, params, proof, remoteAddress, now })
    if (answered.kind === 'granted') {
      ctx.body = answered.body
      return
    }
    if (answered.nonce !== undefined) ctx.set('dpop-nonce', answered.nonce)
    throw refusal(statusOf(answered.error), answered.error, answered.description)
  }

  const handlers = (Object.keys(grantTypes) as Grant[]).map(
    (grant): GrantHandler => ({
      grantType: grantTypes[grant],
      parameters: parameters[grant],
      repeated: target,
      handle: (ctx) => answer(ctx, grant, paramsOf(ctx, parameters[grant])),
    }),
  )
  const bearer = ['assertion', 'scope', ...target]
  return [
    ...handlers,
    {
      grantType: jwtBearer,
      parameters: bearer,
      repeated: target,
      /** Another spelling of the swap of a federated token (RFC 7523, section 2.1), and of nothing else. */
      handle: async (ctx) => {
        if (callOf(ctx).client?.authentication.kind !== 'federated')
          throw refusal(400, 'unauthorized_client', 'this grant is for tokens of federated issuers, and needs no client')
        const { assertion, ...others } = Object.fromEntries(paramsOf(ctx, bearer))
        if (assertion === undefined) throw refusal(400, 'invalid_request', "missing required parameter 'assertion'")
        await answer(
          ctx,
          'token_exchange',
          new Map([...Object.entries(others), ['subject_token', assertion], ['subject_token_type', jwtType]]),
        )
      },
    },
  ]
}

/** The parameters of a grant that were sent. */
function paramsOf({ oidc: { params } }: Context, names: readonly string[]): Map<string, string | readonly string[]> {
  const sent = new Map<string, string | readonly string[]>()
  for (const name of names) {
    const value = params[name]
    if (value !== undefined) sent.set(name, value)
  }
  return sent
}
