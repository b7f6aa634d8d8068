import type { Ruling } from '../check/check.ts'
import { pipeline } from '../check/pipeline.ts'
import type { StageClock } from '../check/stage.ts'
import type { Policy } from '../core/policy.ts'
import type { DownstreamTokens, OwnerLookup, RevocationCheck } from '../core/ports.ts'
import type { Prove } from '../core/proof.ts'
import type { Validator } from '../core/validator.ts'
import { createPeerReader } from '../identity/peer.ts'
import { authorize, conditionFailure } from '../stages/authorize.ts'
import { exchange } from '../stages/exchange.ts'
import { identify, type Rejection } from '../stages/identify.ts'
import { normalize } from '../stages/normalize.ts'
import { own } from '../stages/own.ts'
import { respond } from '../stages/respond.ts'
import { revocation } from '../stages/revocation.ts'
import { route } from '../stages/route.ts'

/** Everything that a check reaches. */
export interface RulingNeeds {
  readonly policy: Policy
  readonly validators: readonly Validator[]
  readonly revocations: RevocationCheck
  readonly owners: OwnerLookup
  readonly tokens: DownstreamTokens
  readonly clock: StageClock
  readonly prove: Prove
  readonly onRejection: (rejection: Rejection) => void
}

/** A policy and the pipeline that decides by it. */
export function composeRuling(needs: RulingNeeds): Ruling {
  const { policy } = needs
  const readPeer = createPeerReader()
  const run = pipeline(
    {
      normalize,
      route,
      identify: identify({
        validators: needs.validators,
        peer: (state) => readPeer(state.request, policy.trustDomains),
        prove: needs.prove,
        onRejection: needs.onRejection,
      }),
      revocation: revocation(needs.revocations),
      authorize,
      own: own(needs.owners, (state, labels) => {
        const { condition } = state.route
        return condition && conditionFailure(condition, state, labels)
      }),
      exchange: exchange(needs.tokens),
      respond,
    },
    needs.clock,
  )
  return { policy, run }
}
