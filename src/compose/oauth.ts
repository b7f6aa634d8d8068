import { createLimit, type Limit } from '../core/limit.ts'
import type { Offered } from '../issuer/oauth/metadata.ts'
import { openProtocol, type ProtocolNeeds } from '../issuer/oauth/provider.ts'
import { createTokenService, type TokenService } from '../issuer/oauth/token-service.ts'

export interface OAuthNeeds extends ProtocolNeeds {
  /** Of the policy in force; undefined where it has neither a client nor a federation rule. */
  readonly offered: () => Offered | undefined
  /** `listen.issuer.tls.mode` */
  readonly tls: 'none' | 'tls' | 'mtls'
  readonly observe: (endpoint: string, seconds: number) => void
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Failed client authentications, by address. */
  readonly failures?: Limit
}

/** Failed client authentications of an address: so many at once, then so many a second. */
const failuresPerSecond = 5
const failuresAtOnce = 20

/** `/token`, `/introspect` and `/revoke`, whose library is loaded when the policy first has a client. */
export function composeOAuth({ offered, tls, observe, clock = Date.now, failures, ...protocol }: OAuthNeeds): TokenService {
  const service = createTokenService({
    issuer: protocol.issuer,
    offered,
    open: () => openProtocol(protocol),
    mtls: tls === 'mtls',
    failures: failures ?? createLimit(failuresPerSecond, failuresAtOnce),
    clock,
    observe,
    onFault: protocol.onFault,
  })
  // Not awaited: the checks need not wait for it, and who asks sooner waits with it.
  service.warm().catch(protocol.onFault)
  return service
}
