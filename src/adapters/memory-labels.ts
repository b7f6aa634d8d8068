import { setImmediate } from 'node:timers/promises'
import { type Labels, sameLabels } from '../core/ownership.ts'
import type { LabelStore, StoredLabels } from '../core/ports.ts'
import type { Changes } from './changes.ts'

interface Kept extends StoredLabels {
  /** Place in the list: that of its creation. */
  readonly seq: number
}

/** Labels of one realm, gone with the process. */
export interface MemoryLabels {
  /** In the order of `seq`: a Map keeps the place of a key that is set again. */
  readonly kept: Map<string, Kept>
  made: number
  /** Lists that somebody is in the middle of, by the `seq` that was told last, so that a page costs no walk to where it begins. */
  readonly walks: Map<number, Iterator<Kept>>
}

export const createMemoryLabels = (): MemoryLabels => ({ kept: new Map(), made: 0, walks: new Map() })

/** Lists under way at a time whose place is remembered; another one finds its place by itself. */
const mostWalks = 16

/** Labels in memory. @param changes told of each change */
export function memoryLabels(labels: MemoryLabels, changes: Pick<Changes, 'tell'>): LabelStore {
  const { kept, walks } = labels
  // Resource kinds hold no colon, so that the pair stays unambiguous.
  const keyOf = (resource: string, id: string) => `${resource}:${id}`

  const remove = (resource: string, id: string): boolean => {
    const removed = kept.delete(keyOf(resource, id))
    if (removed) changes.tell({ kind: 'label', source: undefined, resource, id })
    return removed
  }
  const write = (resource: string, id: string, next: Labels): void => {
    if (next.size === 0) return void remove(resource, id)
    const key = keyOf(resource, id)
    kept.set(key, { resource, id, labels: new Map(next), seq: kept.get(key)?.seq ?? ++labels.made })
    changes.tell({ kind: 'label', source: undefined, resource, id })
  }

  /** The records after a place. A walk over a Map goes on though it is written to, and sees what is added behind it. */
  const walkFrom = (seq: number): Iterator<Kept> => {
    const known = walks.get(seq)
    if (known !== undefined) {
      walks.delete(seq)
      return known
    }
    return kept.values().filter((each) => each.seq > seq)
  }

  return {
    read: (resource, id) => {
      const found = kept.get(keyOf(resource, id))
      return found && { labels: found.labels }
    },
    write: async (resource, id, next) => write(resource, id, next),
    remove: async (resource, id) => remove(resource, id),
    swap: async (resource, id, seen, next) => {
      const now = kept.get(keyOf(resource, id))?.labels
      if (now === undefined || seen === undefined ? now !== seen : !sameLabels(now, seen)) return false
      write(resource, id, next)
      return true
    },
    writeMany: async (entries, mode) =>
      entries.map(({ resource, id, labels: next }) => {
        if (mode === 'absent' && kept.has(keyOf(resource, id))) return false
        write(resource, id, next)
        return true
      }),
    list: async ({ resource, member }, most, after) => {
      // Checks have their turn between the pages of a long list.
      await setImmediate()
      const [name, value] = member ?? []
      let last = Number(after) || 0
      const walk = walkFrom(last)
      const entries: StoredLabels[] = []
      for (let looked = 0; looked < most; looked++) {
        const { value: each, done } = walk.next()
        if (done) return { entries, cursor: undefined }
        last = each.seq
        if (resource !== undefined && each.resource !== resource) continue
        if (name !== undefined && each.labels.get(name) !== value) continue
        entries.push({ resource: each.resource, id: each.id, labels: each.labels })
      }
      if (walks.size >= mostWalks) walks.delete(walks.keys().next().value!)
      walks.set(last, walk)
      return { entries, cursor: String(last) }
    },
  }
}
