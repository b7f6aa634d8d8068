import type { TokenOrder } from '../../core/issuer.ts'
import type { GrantRequest } from '../grants.ts'
import { grantScopes } from './ceilings.ts'
import type { GrantNeeds } from './policy.ts'
import { newBinding, shownKeys, spend } from './proof.ts'
import { type Granted, isRefusal, type Refusal, refuse } from './refusal.ts'
import { targetsOf } from './targets.ts'
import { fitsToken, tooLong } from './token-size.ts'

/** No token of ours lives longer. Seconds. */
export const longestLife = 86_400

/** Members of an answer (RFC 6749, section 5.1). */
export const accessTokenAnswer = (
  token: { readonly token: string; readonly issuedAt: number; readonly expiresAt: number },
  order: Pick<TokenOrder, 'scopes' | 'confirmation'>,
): Record<string, string | number> => ({
  access_token: token.token,
  // RFC 9449, section 5: a token that is bound to a key is no bearer token. One bound to a certificate is (RFC 8705, section 3).
  token_type: order.confirmation?.jkt === undefined ? 'Bearer' : 'DPoP',
  expires_in: token.expiresAt - token.issuedAt,
  ...(order.scopes.length > 0 && { scope: order.scopes.join(' ') }),
})

/**
 * The token of a client itself (RFC 6749, section 4.4): its roles, at most its scopes, for one of its audiences. No refresh token
 * comes with it (section 4.4.3): the client can always ask again.
 */
export const clientCredentials =
  ({ policy, issue, replays }: GrantNeeds) =>
  async (request: GrantRequest): Promise<Granted | Refusal> => {
    const { client, params, now } = request
    if (!client.grants.includes('client_credentials'))
      return refuse('unauthorized_client', 'grant_not_allowed', 'this client may not use this grant')
    const { edges, proofs } = policy()
    const targets = targetsOf(params, [client.audiences], edges)
    if (isRefusal(targets)) return targets
    const scopes = grantScopes(params, [client.scopes])
    if (isRefusal(scopes)) return scopes
    const shown = shownKeys(request, proofs)
    if (isRefusal(shown)) return shown
    const edge = targets.kind === 'edge'
    // At the edge our validator puts its namespace before it. An upstream has nobody who does, and must not take the client for
    // somebody of another validator whose name is spelled alike.
    const [namespace = ''] = [...edges.values()].map((validator) => validator.namespace)
    const order: TokenOrder = {
      kind: targets.kind,
      audience: audienceClaim(targets.audiences),
      subject: edge ? client.id : namespace + client.id,
      client: client.id,
      // Roles are what routes here ask for; an upstream is told of none.
      roles: edge ? client.roles : [],
      scopes,
      confirmation: edge ? newBinding(shown) : undefined,
      ttl: Math.min(client.ttl, longestLife),
      now,
    }
    if (!fitsToken(order)) return tooLong()
    const spent = await spend(shown, replays)
    if (spent) return spent
    const minted = await issue(order, { actor: client.id, grant: 'client_credentials' })
    return { kind: 'granted', body: accessTokenAnswer(minted, order) }
  }

/** One audience is a text, several are a list (RFC 7519, section 4.1.3). */
export const audienceClaim = (audiences: readonly [string, ...string[]]): string | readonly string[] =>
  audiences.length === 1 ? audiences[0] : audiences
