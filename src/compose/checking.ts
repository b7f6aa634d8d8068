import type { Metrics } from '../adapters/metrics.ts'
import type { Check } from '../check/check.ts'
import type { Settings } from '../config/schema.ts'
import { bareDenial, type DecisionMark } from '../wire/bare-denial.ts'
import { type CountingHandler, createCheckHandler } from '../wire/check-handler.ts'

export interface CheckingNeeds {
  readonly check: Check
  /** In force now: of the limits, and of how outages are told. */
  readonly settings: () => Pick<Settings, 'check' | 'errors'>
  /** What a denial says of where it comes from, where there was no check that could. */
  readonly mark: () => Omit<DecisionMark, 'id'>
  readonly metrics: Pick<Metrics, 'overloaded' | 'undecodable'>
  readonly newId: () => string
  /** A message that could not be answered as it should, and was denied. */
  readonly onFault: (detail: string) => void
}

/** What a transport calls with each CheckRequest, within the limits of the policy in force. */
export function composeChecking({ check, settings, mark, metrics, newId, onFault }: CheckingNeeds): CountingHandler {
  return createCheckHandler({
    check,
    refuse: (reason, detail) => {
      if (reason === 'overloaded') metrics.overloaded()
      else if (reason === 'bad_request') metrics.undecodable()
      else onFault(detail)
      return bareDenial(reason, { ...mark(), id: newId() })
    },
    get maxInFlight() {
      return settings().check.max_in_flight
    },
    get maxMessage() {
      return settings().check.max_message
    },
    get maxDeadlineMs() {
      return settings().check.max_deadline
    },
    get outagesAsErrors() {
      return settings().errors === 'error_response'
    },
  })
}
