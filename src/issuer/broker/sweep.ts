import type { Revocation } from '../../core/ports.ts'
import type { RecordStore, StoredRecord } from '../../core/record-store.ts'
import { isFamily } from '../grants/families.ts'
import type { RecordAct } from '../issuance.ts'
import { createAgents, readAgent } from './agents.ts'
import { present, textOf } from './record-values.ts'
import { keptAgents } from './renewal.ts'

/** What a sweep found to be over. */
export interface Swept {
  readonly launchTokens: number
  /** Tokens that came to their natural end. */
  readonly tokens: number
  /** Agents that were idle for too long. */
  readonly expiredAgents: number
  /** Agents that were over for a day, and are forgotten. */
  readonly removedAgents: number
}

export interface SweepNeeds {
  readonly records: RecordStore
  readonly record: RecordAct
  /** @throws {Unavailable} */
  readonly revoke: (revocation: Revocation) => Promise<void>
  /** Seconds: no token of an agent lives longer than this from now. */
  readonly longestLife: () => number
}

const pageSize = 200
/** Pages in one sweep: the rest waits for the next. */
const mostPages = 500
/** Seconds after which an agent that was left half expired is taken up again. */
const again = 30

/**
 * Takes away what is over. Several replicas may sweep at once: each record is one's alone by compare and swap.
 * @param now seconds since the epoch
 * @throws {Unavailable}
 */
export function sweeping({ records, record, revoke, longestLife }: SweepNeeds): (now: number) => Promise<Swept> {
  const agents = createAgents(records)

  const each = async (
    kind: 'launch-token' | 'token' | 'agent',
    now: number,
    over: (one: StoredRecord) => Promise<boolean>,
  ): Promise<number> => {
    let count = 0
    for (let page = 0; page < mostPages; page++) {
      const found = await records.expired(kind, now, pageSize)
      const taken = (await Promise.all(found.map(over))).filter(Boolean).length
      count += taken
      // Nothing more, or the same page again: others have it, or it cannot be taken away.
      if (taken === 0) break
    }
    return count
  }
  const forget = (kind: 'launch-token' | 'token' | 'agent') => (one: StoredRecord) => records.remove(kind, one.id, one.revision)

  let families = 0
  const endToken = async (one: StoredRecord): Promise<boolean> => {
    if (!(await records.remove('token', one.id, one.revision))) return false
    if (isFamily(one)) {
      families++
      return true
    }
    const { subject, client, kind } = one.value
    const detail = present({ subject: textOf(subject), client: textOf(client), kind: textOf(kind), expired_at: one.until })
    await record({ type: 'token_expired', outcome: 'success', target: one.id, detail })
    return true
  }

  return async (now) => {
    let [expiredAgents, removedAgents] = [0, 0]
    const endAgent = async (one: StoredRecord): Promise<boolean> => {
      const agent = readAgent(one)
      if (!agent || agent.status === 'released' || agent.status === 'expired') {
        const removed = await forget('agent')(one)
        if (removed) removedAgents++
        return removed
      }
      // Marked first, so that it renews nothing while its tokens are revoked; who is stopped in between is followed by the next sweep.
      const expiring = { ...agent, status: 'expiring' } as const
      if (!(await agents.change({ agent, stored: one }, expiring, now + again))) return false
      await revoke({ level: 'agent', target: agent.id, at: now, until: now + Math.max(longestLife(), agent.ttl) })
      const marked = await agents.find(agent.id)
      if (!marked || !(await agents.change(marked, { ...agent, status: 'expired' }, now + keptAgents))) return false
      const detail = { last_seen: agent.lastSeen, task_id: agent.task, orch_id: agent.orchestration }
      await record({ type: 'agent_expired', outcome: 'success', target: agent.id, detail })
      expiredAgents++
      return true
    }
    const launchTokens = await each('launch-token', now, forget('launch-token'))
    families = 0
    const tokens = (await each('token', now, endToken)) - families
    await each('agent', now, endAgent)
    return { launchTokens, tokens, expiredAgents, removedAgents }
  }
}

/** How many agents are active. @param now seconds since the epoch. @throws {Unavailable} */
export async function countActive(records: Pick<RecordStore, 'list'>, now: number): Promise<number> {
  const active = new Set<string>()
  for (let cursor: string | undefined; ; ) {
    const page = await records.list('agent', pageSize, cursor)
    // A record that is written meanwhile may come twice.
    for (const one of page.records) if (readAgent(one)?.status === 'active' && one.until > now) active.add(one.id)
    if (page.cursor === undefined) return active.size
    cursor = page.cursor
  }
}
