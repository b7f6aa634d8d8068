import type { Check } from '../check/check.ts'
import type { Answer } from '../core/answer.ts'
import type { Request } from '../core/request.ts'
import { bareDenial, type WireReason } from './bare-denial.ts'
import { createDecoder, DecodeFault } from './decode.ts'
import { createEncoder } from './encode.ts'
import { createTurnClock, type TurnClock } from './turn-clock.ts'

/**
 * What a transport calls: an encoded CheckRequest in, an encoded CheckResponse out. It never throws and never
 * rejects; what fails is a denial. It answers synchronously when the check does.
 * @param timeoutMs what is left of `grpc-timeout`, in milliseconds; undefined where the caller set none
 */
export type CheckHandler = (message: Buffer, timeoutMs: number | undefined) => Buffer | Promise<Buffer>

/** A handler that tells how many checks are waiting now. */
export type CountingHandler = CheckHandler & { readonly inFlight: () => number }

/** Limits are read for each message, so that they may be getters over a policy that is replaced. */
export interface CheckHandlerOptions {
  readonly check: Check
  /**
   * Answers what never became a check, or whose answer could not be encoded, and counts it. `bareDenial` makes
   * such answers. `detail` is for the log.
   */
  readonly refuse: (reason: WireReason, detail: string) => Answer
  /** Checks that may be waiting at once (`check.max_in_flight`). */
  readonly maxInFlight: number
  /** Bytes of one message (`check.max_message`). */
  readonly maxMessage: number
  /** Milliseconds (`check.max_deadline`). */
  readonly maxDeadlineMs: number
  /** Whether outages are told as errors (`errors: error_response`); absent: as denials. */
  readonly outagesAsErrors?: boolean
  /** How long messages wait unseen; that of this process unless given. */
  readonly turns?: TurnClock
}

/** What a caller without a deadline is given, in milliseconds: less than Envoy's own default time-out of 200 ms. */
const withoutDeadlineMs = 150

/** The share of the caller's time that a check may use: the rest is for the way, so that our denial arrives first. */
export function budgetMs(timeoutMs: number | undefined, maxDeadlineMs: number): number {
  return Math.min(timeoutMs === undefined ? withoutDeadlineMs : Math.max(0, timeoutMs * 0.75), maxDeadlineMs)
}

const describe = (cause: unknown): string => (cause instanceof Error ? `${cause.name}: ${cause.message}` : 'something was thrown')

/** Joins decoder, check and encoder. */
export function createCheckHandler(options: CheckHandlerOptions): CountingHandler {
  const { check, refuse } = options
  const decode = createDecoder()
  const encode = createEncoder(() => options.outagesAsErrors === true)
  // Encoded now, so that the last resort cannot fail.
  const lastResort = encode(bareDenial('internal'))
  const turns = options.turns ?? createTurnClock()
  let inFlight = 0

  const refused = (reason: WireReason, detail: string): Buffer => {
    try {
      return encode(refuse(reason, detail))
    } catch {
      return lastResort
    }
  }
  const encoded = (answer: Answer): Buffer => {
    try {
      return encode(answer)
    } catch (cause) {
      return refused('internal', describe(cause))
    }
  }
  const settled = (answer: Answer): Buffer => {
    inFlight--
    return encoded(answer)
  }
  const failed = (cause: unknown): Buffer => {
    inFlight--
    return refused('internal', describe(cause))
  }

  const handle: CheckHandler = (message, timeoutMs) => {
    const begun = performance.now()
    if (inFlight >= options.maxInFlight) return refused('overloaded', `${inFlight} checks are waiting`)
    // Whoever asked is about to give up, or has: an answer that costs next to nothing lets those behind be in time.
    const budget = budgetMs(timeoutMs, options.maxDeadlineMs) - turns.waitedMs(begun)
    if (budget <= 0) return refused('overloaded', 'the deadline had passed before the message was read')
    if (message.length > options.maxMessage) return refused('bad_request', `a message of ${message.length} bytes`)
    const request: Request | DecodeFault = decode(message)
    if (request instanceof DecodeFault) return refused('bad_request', request.detail)
    try {
      const answer = check(request, budget, begun)
      if (!(answer instanceof Promise)) return encoded(answer)
      inFlight++
      return answer.then(settled, failed)
    } catch (cause) {
      return refused('internal', describe(cause))
    }
  }
  return Object.assign(handle, { inFlight: () => inFlight })
}
