import { eventOf } from '../core/audit-chain.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import { type AuditHead, type AuditLog, type AuditLogName, auditLogOf } from '../core/audit-log.ts'
import { type AuditStore, createAuditChain } from './audit-chains.ts'
import { newestOf } from './audit-order.ts'
import { createAuditQueue } from './audit-queue.ts'

export interface AuditStateOptions {
  readonly store: AuditStore
  readonly realm: string
  /** Of this program. */
  readonly version?: string | undefined
  /** Milliseconds since the epoch. */
  readonly clock?: (() => number) | undefined
}

/** The audit trail over the two logs of a driver. */
export interface AuditState extends AuditLog {
  /** Writes what is queued, and takes nothing more. */
  readonly close: () => Promise<void>
}

/** Lines read at a time for `tail`. */
const pageSize = 1000
/** What the trail writes of itself. */
const own = new Set(['audit_started', 'audit_checkpoint'])

/** A queue and a chain for each log, the same for all drivers. */
export function createAuditState({ store, realm, version, clock }: AuditStateOptions): AuditState {
  const open = (log: AuditLogName) => {
    const chain = createAuditChain({ store, log, realm, version, clock })
    return { ...chain, queue: createAuditQueue({ realm, write: chain.write }) }
  }
  const logs = { events: open('events'), decisions: open('decisions') }
  const both = [logs.events, logs.decisions]
  const flush = async (): Promise<void> => void (await Promise.all(both.map(({ queue }) => queue.flush())))

  /** The newest events of a log, newest last. */
  const newest = async (log: AuditLogName, limit: number): Promise<readonly AuditEvent[]> => {
    const found = new Map<string, AuditEvent>()
    for (let after: string | undefined; found.size < limit; ) {
      const wanted = Math.min(pageSize, limit - found.size + 2)
      const page = await store.read(log, { after, limit: wanted, newestFirst: true })
      for (const { text } of page) {
        const event = eventOf(text)
        if (!event || own.has(event.type)) continue
        // Of an event that was written twice the first counts.
        found.delete(event.id)
        found.set(event.id, event)
      }
      if (page.length < wanted) break
      after = page.at(-1)?.cursor
    }
    return [...found.values()].reverse()
  }

  return {
    append: (event) => logs[auditLogOf(event)].queue.append(event),
    commit: (event) => logs[auditLogOf(event)].queue.commit(event),
    // A checkpoint is for what is removed right after it.
    commitTo: (log, event) => logs[log].queue.commit(event, 'or never'),
    tail: async (limit) => {
      if (limit <= 0) return []
      await flush()
      return newestOf(await newest('decisions', limit), await newest('events', limit), limit)
    },
    read: async (log, range) => {
      await logs[log].queue.flush()
      return store.read(log, range)
    },
    size: async (log) => store.size(log),
    heads: () => both.map(({ head }) => head()).filter((head): head is AuditHead => head !== undefined),
    cut: store.cut,
    close: async () => void (await Promise.all(both.map(({ queue }) => queue.close()))),
  }
}
