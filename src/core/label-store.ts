import type { Labels } from './ownership.ts'
import type { Soon } from './soon.ts'

/** What is kept of one resource; a resource without labels is one that nobody knows. */
export interface LabelRecord {
  readonly labels: Labels
}

/** Labels of resources, as stored. Everything is keyed by the realm that the driver was opened for. */
export interface LabelReader {
  /** @returns undefined where the resource is unknown. @throws {Unavailable} */
  readonly read: (resource: string, id: string) => Soon<LabelRecord | undefined>
}

/** A record and the resource that it is of. */
export interface StoredLabels extends LabelRecord {
  readonly resource: string
  readonly id: string
}

/** Which records are listed: all that are said. */
export interface LabelFilter {
  readonly resource?: string | undefined
  /** A member that each has: such as the owner label, as its value stands there. */
  readonly member?: readonly [name: string, value: string] | undefined
}

/** A part of a list. A record that is written meanwhile may come again, or not at all; one that stays comes at least once. */
export interface LabelPage {
  readonly entries: readonly StoredLabels[]
  /** For the next `list` with the same filter; undefined: that was all. A page may be empty and the list go on. */
  readonly cursor: string | undefined
}

/** Postern's own labels, which may be written. All writes are durable as the driver promises when they resolve. */
export interface LabelStore extends LabelReader {
  /** Replaces all labels of a resource. @throws {Unavailable} */
  readonly write: (resource: string, id: string, labels: Labels) => Promise<void>
  /** @returns whether there was something to remove. @throws {Unavailable} */
  readonly remove: (resource: string, id: string) => Promise<boolean>
  /**
   * Replaces all labels of a resource where they still are what the caller saw, so that of several replicas one wins.
   * @param seen what the caller read; undefined: nothing was known of it
   * @param next empty: the resource is forgotten
   * @returns whether it was replaced
   * @throws {Unavailable}
   */
  readonly swap: (resource: string, id: string, seen: Labels | undefined, next: Labels) => Promise<boolean>
  /**
   * Writes many at once, at most {@link mostLabelsAtOnce}. Each is replaced as a whole, some may be written where others fail.
   * @param mode `absent`: what is known already stays as it is
   * @returns for each in turn, whether it was written
   * @throws {Unavailable} where it is not known of all of them
   */
  readonly writeMany: (entries: readonly StoredLabels[], mode: 'replace' | 'absent') => Promise<readonly boolean[]>
  /**
   * A page of the records, in no order that means anything. It looks at a bounded number of records, whatever the filter lets pass.
   * @param most about so many are looked at
   * @throws {Unavailable}
   */
  readonly list: (filter: LabelFilter, most: number, after?: string) => Promise<LabelPage>
}

/** Records that are written at once at most. */
export const mostLabelsAtOnce = 1000
