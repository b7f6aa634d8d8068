import { isJsonObject, type Json } from '../core/json.ts'
import type { RecordStore } from '../core/record-store.ts'

/** Another process writes the same position: two of them mirror the same. This one lists again, and tells it each time. */
export class Superseded extends Error {
  override readonly name = 'Superseded'
}

/** The resourceVersion that the watch of a namespace goes on from; `*` where all are watched together. */
export type Versions = ReadonlyMap<string, string>

/** How far the mirror of one kind is, as state has it: a restart goes on from there. */
export interface Position {
  /** @returns undefined where a list is needed: nothing is known, or what is mirrored was something else. @throws {Unavailable} */
  readonly read: () => Promise<Versions | undefined>
  /**
   * Only what has been written to the labels before. Each write is a swap.
   * @param versions undefined: from now on a list is needed
   * @throws {Superseded} {Unavailable}
   */
  readonly write: (versions: Versions | undefined) => Promise<void>
}

/**
 * @param id names the mirror: cluster and kind
 * @param scope what is mirrored, and how: a position of another scope is of no use
 */
export function createPosition(records: Pick<RecordStore, 'read' | 'write'>, id: string, scope: string): Position {
  let revision: string | undefined
  return {
    read: async () => {
      const found = await records.read('sync', id)
      revision = found?.revision
      return found && found.value['scope'] === scope ? versionsOf(found.value['versions']) : undefined
    },
    write: async (versions) => {
      const value = { scope, versions: Object.fromEntries(versions ?? []) }
      const next = await records.write('sync', { id, value, until: 0 }, revision)
      if (next === undefined) throw new Superseded(`another process mirrors ${id} too: give them one lease, or another --cluster`)
      revision = next
    },
  }
}

function versionsOf(value: Json | undefined): Versions | undefined {
  if (!isJsonObject(value)) return undefined
  const versions = new Map(Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
  return versions.size === 0 ? undefined : versions
}
