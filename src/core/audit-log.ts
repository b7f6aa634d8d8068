import type { AuditEvent } from './audit-event.ts'

/** The trail is two logs: anybody can cause a denial, and must not be able to push out what administrators did. */
export const auditLogs = ['events', 'decisions'] as const
export type AuditLogName = (typeof auditLogs)[number]

/** The log that an event belongs to, but for those that the trail writes of itself. */
export const auditLogOf = ({ type }: Pick<AuditEvent, 'type'>): AuditLogName => (type === 'decision' ? 'decisions' : 'events')

/** One stored event. */
export interface AuditLine {
  /** Its place in the log, for the next `read`; says nothing to anybody else. */
  readonly cursor: string
  /** As stored: the canonical JSON of the event with its link (audit-chain.ts); in old state JSON without a link. */
  readonly text: string
}

/** A link of a chain. */
export interface AuditHead {
  readonly log: AuditLogName
  /** Names the chain. */
  readonly boot: string
  readonly seq: number
  /** SHA-256, hexadecimal. */
  readonly hash: string
}

/** Which part of a log is read. */
export interface AuditRange {
  /** The lines after this one, in the direction of reading; absent: from the end where reading begins. */
  readonly after?: string | undefined
  readonly limit: number
  /** Absent: in stored order. */
  readonly newestFirst?: boolean
}

/** Append-only. Never throws into a request: what cannot be written is counted and told by health. */
export interface AuditSink {
  /** Queued, in state within 1 s. */
  readonly append: (event: AuditEvent) => void
  /**
   * Resolves when the event is durable: for what a caller is told has happened. What it tells of has been done already: where it
   * cannot be written now, its caller is not told, and it stays queued. @throws {Unavailable}
   */
  readonly commit: (event: AuditEvent) => Promise<void>
  /**
   * The newest events of both logs by their time, newest last: each once, without its link, and without those that the trail
   * writes of itself.
   * @throws {Unavailable}
   */
  readonly tail: (limit: number) => Promise<readonly AuditEvent[]>
}

/** What reading, verification and export ask: whatever is queued here is written first. */
export interface AuditReader {
  /** @throws {Unavailable} */
  readonly read: (log: AuditLogName, range: AuditRange) => Promise<readonly AuditLine[]>
  /** Lines in a log. @throws {Unavailable} */
  readonly size: (log: AuditLogName) => Promise<number>
}

/** The whole trail, as state has it. */
export interface AuditLog extends AuditSink, AuditReader {
  /** The last durable link of each chain that this handle writes; none of a log that it has written nothing to. */
  readonly heads: () => readonly AuditHead[]
  /** To the log that is named, durable when it resolves, now or never: for what the trail writes of itself. @throws {Unavailable} */
  readonly commitTo: (log: AuditLogName, event: AuditEvent) => Promise<void>
  /**
   * Removes the oldest lines of a log, up to this one. Only after a checkpoint that says so (audit-checkpoint.ts).
   * @throws {Unavailable}
   */
  readonly cut: (log: AuditLogName, upTo: string) => Promise<void>
}
