import type { Stage } from '../check/stage.ts'
import { type Exchanged, exchanged, noteCache, type Owned } from '../core/facts.ts'
import type { DownstreamTokens, TokenAnswer } from '../core/ports.ts'
import { type Deny, deny } from '../core/reasons.ts'

/** The token for the upstream (RFC 8693). Denies `exchange_refused` or `exchange_unavailable`. */
export const exchange = (tokens: DownstreamTokens): Stage<Owned, Exchanged> => ({
  name: 'exchange',
  run: (state) => {
    const { downstream } = state.route
    if (!downstream) return exchanged(state, undefined)
    const settle = (answer: TokenAnswer): Exchanged | Deny => {
      switch (answer.kind) {
        case 'token':
          noteCache(state, answer.cache)
          return exchanged(state, answer.token)
        case 'refused':
          return deny('exchange_refused', answer.detail)
        case 'unavailable':
          return deny('exchange_unavailable', answer.detail)
      }
    }
    const answer = tokens.obtain({
      principal: state.principal,
      workload: actsForItself(state) ? undefined : state.workload?.id,
      audience: downstream.audience,
      scope: downstream.scope,
      ttl: downstream.ttl,
      resource: state.resource,
      via: downstream.via,
      now: state.now,
    })
    return answer instanceof Promise ? answer.then(settle) : settle(answer)
  },
})

/**
 * A workload that acts for itself is no actor beside the subject (RFC 8693, section 4.1). Only a certificate's principal has
 * its trust domain as issuer: a token whose `sub` merely reads like the workload does not hide who acts.
 */
const actsForItself = ({ workload, principal }: Owned): boolean =>
  workload !== undefined && principal.rawSubject === workload.id && principal.issuer === `spiffe://${workload.trustDomain}`
