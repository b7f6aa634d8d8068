import { createLogSample } from '../adapters/log-sample.ts'
import { createLimit, type Limit } from '../core/limit.ts'
import type { RecordAct } from '../issuer/issuance.ts'
import type { Offered } from '../issuer/oauth/metadata.ts'
import { openProtocol, type ProtocolNeeds } from '../issuer/oauth/provider.ts'
import { createTokenService, type TokenService } from '../issuer/oauth/token-service.ts'

export interface OAuthNeeds extends Omit<ProtocolNeeds, 'onUnproved'> {
  /** For failed client authentications. */
  readonly record: RecordAct
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

/** Events of one client that the trail is given at once, and in a second when those are used up; the others are counted. */
const burst = 20
const perSecond = 2
/** Clients that are told apart. */
const mostKinds = 200

/** The endpoints, and their end. */
export interface OAuth extends TokenService {
  readonly close: () => void
}

/** `/token`, `/introspect` and `/revoke`, whose library is loaded when the policy first has a client. */
export function composeOAuth({ offered, tls, observe, clock = Date.now, failures, record, ...needs }: OAuthNeeds): OAuth {
  const refused = { type: 'token_refused', outcome: 'failure' } as const
  const written = createLogSample({
    burst,
    perSecond,
    kinds: mostKinds,
    tell: (target, suppressed) => {
      record({ ...refused, reason: 'counted', ...(target && { target }), detail: { suppressed } }).catch(needs.onFault)
    },
  })
  const protocol: ProtocolNeeds = {
    ...needs,
    onUnproved: async ({ client, endpoint, remoteAddress }) => {
      // A name that nobody knows is whatever its sender has made up.
      const target = client?.id ?? ''
      const suppressed = written.admits(target)
      if (suppressed === undefined) return
      const detail = { endpoint, ...(remoteAddress !== '' && { address: remoteAddress }), ...(suppressed > 0 && { suppressed }) }
      await record({ ...refused, reason: 'client_not_authenticated', ...(target && { target }), detail })
    },
  }
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
  return { ...service, close: written.close }
}
