import type { Logger } from '../adapters/log.ts'
import { Unavailable } from '../core/ports.ts'
import { countActive, type SweepNeeds, sweeping } from '../issuer/broker/sweep.ts'

export interface SweepsNeeds extends SweepNeeds {
  readonly log: Pick<Logger, 'info'>
  readonly onFault: (cause: unknown) => void
  /** Milliseconds. */
  readonly everyMs?: number
}

/** Sweeps as long as the service runs. */
export interface Sweeps {
  /** Agents that were active at the last sweep, and those of this replica since; undefined until there was one. */
  readonly activeAgents: () => number | undefined
  /** One more, or one less, than were counted. */
  readonly noteAgent: (change: 1 | -1) => void
  readonly close: () => void
}

const everyMinute = 60_000
/** The first one comes soon, so that what ended while nothing ran is told. */
const soon = 1000

/** Takes away every minute what is over, and says in one line of the log how much that was. */
export function startSweeps(needs: SweepsNeeds): Sweeps {
  const { records, log, onFault, everyMs = everyMinute } = needs
  const sweep = sweeping(needs)
  let active: number | undefined
  let since = 0
  let timer: NodeJS.Timeout | undefined
  let closed = false

  const turn = async (): Promise<void> => {
    try {
      const now = Math.floor(Date.now() / 1000)
      const swept = await sweep(now)
      active = await countActive(records, now)
      since = 0
      if (Object.values(swept).some((count) => count > 0)) {
        const { launchTokens, tokens, expiredAgents, removedAgents } = swept
        log.info(
          { launch_tokens: launchTokens, tokens, expired_agents: expiredAgents, removed_agents: removedAgents, active_agents: active },
          'swept what is over',
        )
      }
    } catch (cause) {
      // That state does not answer was told when it began.
      if (!(cause instanceof Unavailable)) onFault(cause)
    }
    plan(everyMs)
  }
  const plan = (ms: number): void => {
    if (closed) return
    timer = setTimeout(() => void turn(), ms)
    timer.unref()
  }
  plan(Math.min(soon, everyMs))
  return {
    activeAgents: () => (active === undefined ? undefined : Math.max(0, active + since)),
    noteAgent: (change) => {
      since += change
    },
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}
