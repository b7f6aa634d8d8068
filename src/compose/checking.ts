import type { Metrics } from '../adapters/metrics.ts'
import { createCheck } from '../check/check.ts'
import { bareDenial } from '../wire/bare-denial.ts'
import { type CountingHandler, createCheckHandler } from '../wire/check-handler.ts'
import type { InForce } from './in-force.ts'
import type { Rulings } from './rulings.ts'

export interface CheckingNeeds {
  readonly rulings: Rulings
  readonly inForce: InForce
  readonly metrics: Metrics
  readonly newId: () => string
  /** A message that could not be answered as it should, and was denied. */
  readonly onFault: (detail: string) => void
}

/** What a transport calls with each CheckRequest: the ruling in force decides, and its limits hold. */
export function composeChecking({ rulings, inForce, metrics, newId, onFault }: CheckingNeeds): CountingHandler {
  const limits = () => inForce.loaded().settings.check
  return createCheckHandler({
    check: createCheck({ ruling: rulings.current, observe: inForce.observe, newId, clock: Date.now }),
    refuse: (reason, detail) => {
      if (reason === 'overloaded') metrics.overloaded()
      else if (reason === 'bad_request') metrics.undecodable()
      else onFault(detail)
      const { headers, realm, revision } = inForce.loaded().policy
      return bareDenial(reason, { id: newId(), header: headers.decision, realm, policy: revision })
    },
    get maxInFlight() {
      return limits().max_in_flight
    },
    get maxMessage() {
      return limits().max_message
    },
    get maxDeadlineMs() {
      return limits().max_deadline
    },
    get outagesAsErrors() {
      return inForce.loaded().settings.errors === 'error_response'
    },
  })
}
