import type { Logger } from '../adapters/log.ts'
import type { Condition } from '../admin/status.ts'
import { sweepIntents } from '../check/capture-sweep.ts'
import { createProcessor } from '../check/processor.ts'
import type { ProcessingCounts, ProcessorNeeds } from '../check/processor-needs.ts'
import { createRetries, type OwedKind } from '../check/processor-retries.ts'
import type { Policy } from '../core/policy.ts'
import { type OwnerLookup, type State, Unavailable } from '../core/ports.ts'
import type { Processor } from '../core/processing.ts'

export interface ProcessingNeeds {
  readonly state: Pick<State, 'labels' | 'records' | 'audit'>
  /** The policy in force. */
  readonly policy: () => Policy
  readonly owners: OwnerLookup
  readonly count: ProcessingCounts
  readonly newId: () => string
  readonly log: Pick<Logger, 'info' | 'warn' | 'error'>
  readonly onFault: (cause: unknown) => void
  /** Milliseconds since the epoch. */
  readonly clock?: () => number
  /** Milliseconds between two sweeps. */
  readonly sweepEveryMs?: number
}

/** What decides behind ext_proc. */
export interface Processing {
  readonly processor: Processor
  /** The largest body that the policy in force has anything looked for in, in bytes. */
  readonly maxBody: number
  /** What waits for state to answer again, by its kind. */
  readonly owed: () => Readonly<Record<OwedKind, number>>
  /** Tries what is owed once more, and tells of what is left. */
  readonly close: () => Promise<void>
}

const everyMinute = 60_000
/** The first sweep comes soon, so that what was left by a process that died is told. */
const soon = 1000

/** Captures, removes and filters behind ext_proc, and sweeps what nobody followed to its end. */
export function composeProcessing(needs: ProcessingNeeds): Processing {
  const { state, policy, owners, count, newId, log, onFault, clock = Date.now, sweepEveryMs = everyMinute } = needs
  const retries = createRetries({
    onFault,
    onDropped: (kind, key) => {
      // An intent that stays is told by a sweep; what else is given up has to be found here.
      if (kind !== 'intent') log.error({ [kind]: key }, 'state did not take it, and it is given up')
    },
  })
  const reached: ProcessorNeeds = {
    policy,
    labels: state.labels,
    records: state.records,
    audit: state.audit,
    owners,
    retries,
    following: new Set(),
    newId,
    clock,
    log,
    count,
  }
  let closed = false
  let timer: NodeJS.Timeout | undefined
  let sweeping: Promise<void> = Promise.resolve()

  const sweep = async (): Promise<void> => {
    try {
      const ended = await sweepIntents(reached)
      if (ended > 0) log.warn({ orphans: ended }, 'creates that nobody followed to their end')
    } catch (cause) {
      // That state does not answer was told when it began.
      if (!(cause instanceof Unavailable)) onFault(cause)
    }
    plan(sweepEveryMs)
  }
  const plan = (ms: number): void => {
    if (closed) return
    timer = setTimeout(() => {
      sweeping = sweep()
    }, ms)
    timer.unref()
  }
  plan(Math.min(soon, sweepEveryMs))

  return {
    processor: createProcessor(reached),
    get maxBody() {
      return Math.max(0, ...policy().routes.routes.map(({ capture, list }) => capture?.maxBody ?? list?.filter?.maxBody ?? 0))
    },
    owed: retries.owed,
    close: async () => {
      closed = true
      clearTimeout(timer)
      await sweeping
      await retries.close()
    },
  }
}

/** What `/status` tells of what is owed; undefined where nothing is. */
export function owedCondition({ owed }: Pick<Processing, 'owed'>): Condition | undefined {
  const { orphan, intent, removal } = owed()
  if (orphan + intent + removal === 0) return undefined
  return {
    type: 'OwnersRecorded',
    status: 'False',
    reason: 'WaitsForState',
    message: `${orphan} new resources without an owner, ${removal} removed ones and ${intent} other captures wait for state to take them`,
    orphans: orphan,
    removals: removal,
    intents: intent,
  }
}
