import type { JsonObject } from './json.ts'

/**
 * The sorts of records that are kept; each is a list of its own. The first four are the issuer's; `capture` is what was asked
 * of an upstream whose answer is awaited, `sync` how far a mirror of labels is.
 */
export const recordKinds = ['app', 'launch-token', 'agent', 'token', 'capture', 'sync'] as const
export type RecordKind = (typeof recordKinds)[number]

/** A record as stored. */
export interface StoredRecord {
  /** 1 to 256 visible ASCII characters; unique in its kind. */
  readonly id: string
  readonly value: JsonObject
  /** Seconds since the epoch up to which it is kept, 0 where it stays until it is removed. */
  readonly until: number
  /** Another one with each write; says nothing to anybody else. */
  readonly revision: string
}

/** A part of a list. A record that is written meanwhile may come again, or not at all; one that stays comes at least once. */
export interface RecordPage {
  readonly records: readonly StoredRecord[]
  /** For the next `list`; undefined: that was all. */
  readonly cursor: string | undefined
}

/**
 * What the issuer has to remember: small, found by id, and shared by all replicas. Each write is a compare and swap, so that
 * of several replicas that want the same record one gets it. Nobody keeps records near: a read asks state.
 */
export interface RecordStore {
  /** What is there, even past its `until`, as long as it has not been removed. @throws {Unavailable} */
  readonly read: (kind: RecordKind, id: string) => Promise<StoredRecord | undefined>
  /**
   * Writes a record where it still is what the caller saw; durable when it resolves.
   * @param seen the revision that the caller read; undefined: there was none
   * @returns the new revision; undefined where it is not what was seen, and then nothing was written
   * @throws {Unavailable}
   */
  readonly write: (
    kind: RecordKind,
    record: Pick<StoredRecord, 'id' | 'value' | 'until'>,
    seen: string | undefined,
  ) => Promise<string | undefined>
  /**
   * @param seen the revision that must still be there; absent: whatever it is
   * @returns whether this call removed it: of several replicas one is told true
   * @throws {Unavailable}
   */
  readonly remove: (kind: RecordKind, id: string, seen?: string) => Promise<boolean>
  /**
   * A page of all records of a kind, in no order that means anything.
   * @param most about so many at a time
   * @throws {Unavailable}
   */
  readonly list: (kind: RecordKind, most: number, after?: string) => Promise<RecordPage>
  /**
   * A page of those whose `until` has passed.
   * @param now seconds since the epoch
   * @throws {Unavailable}
   */
  readonly expired: (kind: RecordKind, now: number, most: number) => Promise<readonly StoredRecord[]>
}
