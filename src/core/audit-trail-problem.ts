import type { AuditLogName } from './audit-log.ts'

/** What can be wrong with a trail. */
export type TrailFault = 'changed' | 'removed' | 'reordered' | 'inserted' | 'duplicated' | 'truncated' | 'checkpoint' | 'anchor'

/** A place where a trail is broken. */
export interface TrailProblem {
  readonly fault: TrailFault
  readonly log: AuditLogName | undefined
  /** Where it was noticed: 1 is the first line of its log; 0 for what no line shows. */
  readonly line: number
  readonly boot: string | undefined
  readonly seq: number | undefined
  /** Of the event, where there is one. */
  readonly id: string | undefined
  /** A sentence that says what was expected. */
  readonly expected: string
}

/** Where a line stands. */
export interface LineAt {
  readonly log: AuditLogName
  readonly line: number
  /** Of its event. */
  readonly id: string | undefined
}

export const mostProblems = 100

/** What was found, bounded. */
export class TrailProblems {
  readonly #found: { -readonly [member in keyof TrailProblem]: TrailProblem[member] }[] = []
  /** Those there was no room for. */
  more = 0

  /** @returns its number, for `blame`; -1 where there was no room for it */
  add(fault: TrailFault, at: LineAt | undefined, boot: string | undefined, seq: number | undefined, expected: string): number {
    if (this.#found.length >= mostProblems) {
      this.more++
      return -1
    }
    return this.#found.push({ fault, log: at?.log, line: at?.line ?? 0, boot, seq, id: at?.id, expected }) - 1
  }

  /** Another line turned out to be the one. */
  blame(number: number, { line, id }: LineAt): void {
    const told = this.#found[number]
    if (told) Object.assign(told, { line, id })
  }

  /** Checkpoints first, for what is missing before them follows from that; then in the order of the lines, events before decisions. */
  list(): readonly TrailProblem[] {
    const rank = ({ fault, log }: TrailProblem): number => (fault === 'checkpoint' ? 0 : log === 'events' ? 1 : log === 'decisions' ? 2 : 3)
    return [...this.#found].sort((a, b) => rank(a) - rank(b) || a.line - b.line)
  }
}

/** `link 3`, `links 3 to 7`. */
export const linksOf = (from: number, to: number): string => (from === to ? `link ${from}` : `links ${from} to ${to}`)
