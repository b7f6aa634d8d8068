import type { Jwks, JwksCondition } from '../adapters/jwks.ts'
import type { Metrics } from '../adapters/metrics.ts'
import type { Loaded } from '../config/read.ts'
import type { CertificateLoader } from '../core/certificates.ts'
import type { OwnToken } from '../core/issuer.ts'
import type { Client } from '../core/issuer-client.ts'
import { type State, Unavailable } from '../core/ports.ts'
import { createAgents } from '../issuer/broker/agents.ts'
import { issuing, recordingActs } from '../issuer/issuance.ts'
import { ownTokens } from '../issuer/own-token.ts'
import type { Take } from '../wire/http-listener.ts'
import { composeGrants } from './grants.ts'
import type { IssuerParts } from './issuer.ts'
import { composeOAuth } from './oauth.ts'
import { clientRevoked, ownRevoked } from './own-revoked.ts'
import type { Rulings } from './rulings.ts'

export interface TokenServiceNeeds {
  readonly state: State
  readonly issuer: IssuerParts
  readonly rulings: Rulings
  readonly metrics: Metrics
  readonly loaded: () => Loaded
  readonly newId: () => string
  readonly onFault: (cause: unknown) => void
  readonly onKeys: (condition: JwksCondition) => void
  readonly certificates?: CertificateLoader | undefined
}

/** What the issuer listener serves to clients, beside keys and discovery. */
export interface TokenServiceParts {
  /** `/token`, `/introspect` and `/revoke` */
  readonly take: Take
  /** What discovery says of it; undefined while nothing is served. */
  readonly metadata: () => object | undefined
  readonly jwks: () => readonly Jwks[]
  readonly close: () => Promise<void>
}

/** Puts the token service together, by the policy in force whenever it is asked. */
export function composeTokenService(needs: TokenServiceNeeds): TokenServiceParts {
  const { state, issuer, rulings, metrics, loaded, newId, onFault, onKeys } = needs
  const { realm, listen } = loaded().settings
  const record = recordingActs({ audit: state.audit, newId, realm, clock: Date.now })
  const issue = issuing({ mint: issuer.mint, records: state.records, record, onIssued: metrics.tokenIssued })
  const isRevoked = ownRevoked(rulings, loaded)
  const isClientRevoked = clientRevoked(rulings)
  const agents = createAgents(state.records)
  const grants = composeGrants({
    loaded,
    issuer,
    issue,
    state,
    revocations: rulings.revocations,
    revoke: rulings.revoke,
    record,
    onFault,
    onKeys,
    certificates: needs.certificates,
    agents: async (id) => (await agents.findActive(id, Date.now() / 1000)) !== undefined,
  })

  /** One token, or for a refresh token all that came of its exchange (RFC 7009, section 2.1). */
  const revoke = async (token: OwnToken, client: Client): Promise<void> => {
    const now = Date.now()
    const at = Math.floor(now / 1000)
    await rulings.revoke({ level: 'token', target: token.id, at, until: token.expiresAt })
    const others = await grants.endFamily(token, now)
    await state.records.remove('token', token.id)
    const detail = { level: 'token', subject: token.subject, ...(others.length > 0 && { with: [...others] }) }
    await record({ type: 'token_revoked', outcome: 'success', actor: client.id, target: token.id, detail })
    metrics.tokenRevoked('token')
  }

  const verify = ownTokens({ issuer: issuer.url, keys: issuer.keys })
  const oauth = composeOAuth({
    issuer: issuer.url,
    clients: async (id) => (isClientRevoked(id) ? undefined : grants.clients(id)),
    grants: grants.grants,
    verify: (token, now) => {
      // Without keys none of ours is known from others: to answer that one is revoked, or inactive, would be to guess.
      if (!issuer.ring()) throw new Unavailable('the signing keys have not been loaded from state yet')
      return verify(token, now)
    },
    isRevoked: (token) => isRevoked(token) || grants.isSpent(token),
    revoke,
    replays: state.replays,
    record,
    offered: grants.offered,
    tls: listen.issuer?.tls.mode ?? 'none',
    observe: metrics.request,
    onFault,
  })

  return {
    take: oauth.handle,
    metadata: oauth.metadata,
    jwks: grants.jwks,
    close: () => {
      oauth.close()
      return grants.close()
    },
  }
}
