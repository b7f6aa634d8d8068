import type { OwnToken } from '../../core/issuer.ts'
import type { Grants } from '../grants.ts'
import { clientCredentials } from './client-credentials.ts'
import type { Families } from './families.ts'
import type { GrantNeeds } from './policy.ts'
import { refreshTokens } from './refresh-token.ts'
import { audited } from './refusal.ts'
import { tokenExchange } from './token-exchange.ts'

export interface CreateGrantsNeeds extends GrantNeeds {
  /** Verifies tokens of our own, of whatever kind. */
  readonly verify: (token: string, now: number) => OwnToken | undefined
  readonly families: Families
}

/** The policy behind the token endpoint: who gets what. It proves nobody's identity: the client has been authenticated before. */
export function createGrants(needs: CreateGrantsNeeds): Grants {
  const refresh = refreshTokens(needs)
  return {
    client_credentials: audited('client_credentials', needs.trail, clientCredentials(needs)),
    token_exchange: audited('token_exchange', needs.trail, tokenExchange(needs, refresh)),
    refresh_token: audited('refresh_token', needs.trail, refresh.grant),
  }
}
