import { type ApiKeyRecord, type ApiKeyStore, apiKeyEnd, apiKeyKept } from '../core/ports.ts'

/** API keys of one realm, gone with the process. */
export interface MemoryApiKeys {
  /** In the order of `seq`. */
  readonly log: { seq: number; record: ApiKeyRecord }[]
  readonly used: Map<string, number>
}

export const createMemoryApiKeys = (): MemoryApiKeys => ({ log: [], used: new Map() })

/** Keys told at a time. */
const pageSize = 1000

/** @param tell called after each change */
export const memoryApiKeys = ({ log, used }: MemoryApiKeys, tell: () => void): ApiKeyStore => ({
  list: (after) => {
    const told = Number(after ?? 0)
    const start = log.findLastIndex(({ seq }) => seq <= told) + 1
    const page = log.slice(start, start + pageSize)
    return {
      anew: after === undefined,
      entries: page.map(({ record }) => record),
      cursor: String(page.at(-1)?.seq ?? told),
      more: start + page.length < log.length,
    }
  },
  append: async (record) => {
    const seq = (log.at(-1)?.seq ?? 0) + 1
    const kept = Date.now() / 1000 - apiKeyKept
    const known = log.find(({ record: { id } }) => id === record.id)?.record
    // One entry a key; it moves to the end where it changes.
    for (let i = log.length - 1; i >= 0; i--) {
      const { record: old } = log[i]!
      if (old.id !== record.id && apiKeyEnd(old) >= kept) continue
      if (old.id !== record.id) used.delete(old.id)
      log.splice(i, 1)
    }
    log.push({ seq, record: known?.revokedAt === undefined ? { ...record } : known })
    tell()
  },
  noteUsed: async (uses) => {
    for (const [id, at] of uses) used.set(id, Math.max(at, used.get(id) ?? 0))
  },
  lastUsed: async (ids) => {
    const found = new Map<string, number>()
    for (const id of ids) {
      const at = used.get(id)
      if (at !== undefined) found.set(id, at)
    }
    return found
  },
})
