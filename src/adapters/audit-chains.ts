import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setImmediate as turn } from 'node:timers/promises'
import { labelOf, noHash, seal } from '../core/audit-chain.ts'
import { chainRest } from '../core/audit-checkpoint.ts'
import type { AuditEvent } from '../core/audit-event.ts'
import type { AuditHead, AuditLine, AuditLogName, AuditRange } from '../core/audit-log.ts'
import type { AuditStarted, LinkReference } from '../core/audit-started.ts'
import type { JsonObject } from '../core/json.ts'
import type { Soon } from '../core/ports.ts'
import { createIds } from './ids.ts'

/** A line that is to be stored. */
export interface NewLine {
  /** Unlike that of any other line of the log. */
  readonly key: string
  readonly text: string
}

/** What a driver keeps: two logs of lines, in the order in which they were written. */
export interface AuditStore {
  /** All of them or none, durable when it resolves; where it fails nobody knows which. @throws {Unavailable} */
  readonly write: (log: AuditLogName, lines: readonly NewLine[]) => Promise<void>
  /** @throws {Unavailable} */
  readonly read: (log: AuditLogName, range: AuditRange) => Soon<readonly AuditLine[]>
  /** @throws {Unavailable} */
  readonly size: (log: AuditLogName) => Soon<number>
  /** Removes the lines up to this one. @throws {Unavailable} */
  readonly cut: (log: AuditLogName, upTo: string) => Promise<void>
}

export interface ChainOptions {
  readonly store: AuditStore
  readonly log: AuditLogName
  readonly realm: string
  /** Of this program. */
  readonly version?: string | undefined
  /** Milliseconds since the epoch. */
  readonly clock?: (() => number) | undefined
}

/** The chain that this process writes to one log. */
export interface AuditChain {
  /** Links events and stores them. @throws {Unavailable} */
  readonly write: (events: readonly AuditEvent[]) => Promise<void>
  /** The last link that is known to be durable. */
  readonly head: () => AuditHead | undefined
}

/** Lines at the end of a log among which a new chain looks for others. */
const lookedAt = 1000
const mostHeads = 20
/** Events linked before others get their turn: about half a millisecond. */
const atOnce = 64

interface Segment {
  readonly boot: string
  seq: number
  hash: string
  /** Of the last link, milliseconds since the epoch. */
  at: number
}

/**
 * Opens no chain before something is written. Where a write fails nobody knows what became of it: its chain is then left
 * as it is, and the next attempt begins another, so that no two events ever hold the same place.
 */
export function createAuditChain({ store, log, realm, version, clock = Date.now }: ChainOptions): AuditChain {
  const newId = createIds(clock)
  let segment: Segment | undefined
  let confirmed: (LinkReference & { readonly at: number }) | undefined

  /** What there is to resume from. */
  const look = async (now: number): Promise<Pick<AuditStarted, 'resumes' | 'heads' | 'before'>> => {
    const newest = new Map<string, LinkReference>()
    const gather = async (): Promise<number> => {
      const lines = await store.read(log, { limit: lookedAt, newestFirst: true })
      for (const { text } of lines) {
        const { link } = labelOf(text)
        if (link && !newest.has(link.boot)) newest.set(link.boot, link)
      }
      return lines.length
    }
    let before = await gather()
    if (newest.size === 0 && before === lookedAt) {
      before = await store.size(log)
      // Another process may have begun a chain before they were counted: that is then what is resumed.
      await gather()
    }
    if (confirmed && now - confirmed.at < chainRest * 1000 && !newest.has(confirmed.boot)) newest.set(confirmed.boot, confirmed)
    const [resumes, ...heads] = [...newest.values()].slice(0, mostHeads).map(({ boot, seq, hash }) => ({ boot, seq, hash }))
    return resumes ? { resumes, heads, before: 0 } : { resumes: null, heads: [], before }
  }

  const begin = async (now: number): Promise<{ readonly begun: Segment; readonly event: AuditEvent }> => {
    const { resumes, heads, before } = await look(now)
    const detail: JsonObject = {
      log,
      resumes: resumes && { ...resumes },
      heads: heads.map((head) => ({ ...head })),
      before,
      host: hostname(),
      pid: process.pid,
      ...(version === undefined ? {} : { version }),
    }
    const event: AuditEvent = { id: newId(), time: new Date(now).toISOString(), type: 'audit_started', outcome: 'success', realm, detail }
    return { begun: { boot: randomBytes(12).toString('hex'), seq: 0, hash: resumes?.hash ?? noHash, at: now }, event }
  }

  return {
    write: async (events) => {
      const now = clock()
      const going = segment && now - segment.at < chainRest * 1000 ? segment : undefined
      segment = undefined
      const started = going ? undefined : await begin(now)
      const next = going ?? started!.begun
      const lines: NewLine[] = []
      for (const event of started ? [started.event, ...events] : events) {
        if (lines.length > 0 && lines.length % atOnce === 0) await turn()
        const { boot } = next
        const seq = next.seq + 1
        const { text, hash } = seal(event, { boot, log, prev: next.hash, seq })
        lines.push({ key: `${boot}:${seq}`, text })
        Object.assign(next, { seq, hash, at: now })
      }
      await store.write(log, lines)
      segment = next
      confirmed = { boot: next.boot, seq: next.seq, hash: next.hash, at: now }
    },
    head: () => confirmed && { log, boot: confirmed.boot, seq: confirmed.seq, hash: confirmed.hash },
  }
}
