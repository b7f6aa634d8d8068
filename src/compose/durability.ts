import type { Logger } from '../adapters/log.ts'
import type { DurabilityReport } from '../adapters/redis-durability.ts'
import type { Condition } from '../admin/status.ts'
import type { State } from '../core/ports.ts'

/** State that may say how it keeps what is written. */
export interface OpenedState extends State {
  /** Absent where that needs no asking. */
  readonly durability?: () => DurabilityReport
}

/** Writes what is missing for acknowledged writes to last, at start and whenever it is something else. */
export const durabilityLog =
  (log: Logger) =>
  ({ missing, unknown, confirming }: DurabilityReport): void => {
    if (missing.length > 0) log.warn({ missing, unknown }, 'state may lose what it acknowledged')
    else if (unknown.length > 0) log.warn({ unknown }, 'state does not tell whether it may lose what it acknowledged')
    else log.info({ confirming }, 'state keeps what it acknowledged')
  }

/** What an acknowledged revocation relies on, for each kind of state. */
const relied = {
  memory: 'nothing survives this process: for trying out only',
  file: 'a revocation is on disk before it is acknowledged; other replicas do not see this file',
  redis: 'a revocation is as durable as this Redis: appendonly with appendfsync, and replicas that confirm, decide what a failover keeps',
} as const

/** What an acknowledged revocation relies on, in one sentence. */
export function durabilityOf({ kind, durability }: OpenedState): string {
  const report = durability?.()
  if (report === undefined || report.status === 'Unknown') return relied[kind]
  if (report.status === 'False') return `a revocation may be lost: ${report.missing.join('; ')}`
  const { confirming } = report
  const replicas = confirming === 0 ? 'no replica' : confirming === 1 ? '1 replica' : `${confirming} replicas`
  return `a revocation is on the disk of Redis, and with ${replicas}, before it is acknowledged`
}

/** The condition `StateDurable`; undefined where nobody has to be asked. */
export function durabilityCondition({ durability }: OpenedState): Condition | undefined {
  const report = durability?.()
  if (report === undefined) return undefined
  const { status, reason, missing, unknown, confirming } = report
  const told = [...missing, ...unknown.map((setting) => `not told: ${setting}`)]
  const message = told.length > 0 ? told.join('; ') : 'what is acknowledged survives a crash of Redis and of its host, and a failover'
  return { type: 'StateDurable', status, reason, message, missing, unknown, confirming_replicas: confirming }
}
