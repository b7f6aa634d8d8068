import type { ReplayStore, Revocation, State, StoredKey } from '../core/ports.ts'
import type { RecordStore } from '../core/record-store.ts'
import { createAuditState } from './audit-state.ts'
import { type Changes, createChanges } from './changes.ts'
import { createMemoryApiKeys, type MemoryApiKeys, memoryApiKeys } from './memory-api-keys.ts'
import { createMemoryAudit, type MemoryAudit, memoryAudit } from './memory-audit.ts'
import { createMemoryLabels, type MemoryLabels, memoryLabels } from './memory-labels.ts'
import { memoryRecords } from './memory-records.ts'
import { memoryReplays } from './memory-replays.ts'
import { sameKeys } from './same-keys.ts'
import { checkRealm } from './state-refused.ts'

/** Revocations told at a time. */
const pageSize = 1000

interface Realm {
  readonly labels: MemoryLabels
  /** In the order of `seq`. */
  revocations: { readonly seq: number; readonly revocation: Revocation }[]
  /** The newest `seq`. */
  revoked: number
  /** So many entries, and the expired ones are dropped. */
  pruneAt: number
  keys: StoredKey[]
  readonly replays: ReplayStore
  readonly secrets: Map<string, string>
  readonly records: RecordStore
  readonly apiKeys: MemoryApiKeys
  readonly audit: MemoryAudit
  readonly changes: Changes
}

/** Where the entries begin that are newer than `told`. */
function firstAfter(entries: readonly { readonly seq: number }[], told: number): number {
  let [from, to] = [0, entries.length]
  while (from < to) {
    const middle = (from + to) >> 1
    if (entries[middle]!.seq <= told) from = middle + 1
    else to = middle
  }
  return from
}

/** What several handles of one process may share; gone with the process. */
export interface MemoryStore {
  readonly realm: (name: string) => Realm
}

/** An empty store. */
export function createMemoryStore(): MemoryStore {
  const realms = new Map<string, Realm>()
  return {
    realm: (name) => {
      const known = realms.get(name)
      if (known !== undefined) return known
      const made: Realm = {
        labels: createMemoryLabels(),
        revocations: [],
        revoked: 0,
        pruneAt: pageSize,
        keys: [],
        replays: memoryReplays(),
        secrets: new Map(),
        records: memoryRecords(),
        apiKeys: createMemoryApiKeys(),
        audit: createMemoryAudit(),
        changes: createChanges(),
      }
      realms.set(name, made)
      return made
    },
  }
}

export interface MemoryStateOptions {
  readonly realm: string
  /** Absent: a store of its own. */
  readonly store?: MemoryStore
  /** Of this program, for the audit trail. */
  readonly version?: string | undefined
  /** Of the audit trail; milliseconds since the epoch. */
  readonly clock?: () => number
}

/** State of one process: one worker, one replica, nothing survives. @throws {StateRefused} for a bad realm */
export async function openMemoryState(options: MemoryStateOptions): Promise<State> {
  checkRealm(options.realm)
  const realm = (options.store ?? createMemoryStore()).realm(options.realm)
  const subscriptions = new Set<() => void>()

  const { version, clock } = options
  const audit = createAuditState({ store: memoryAudit(realm.audit), realm: options.realm, version, clock })

  return {
    kind: 'memory',
    labels: memoryLabels(realm.labels, realm.changes),
    revocations: {
      list: (after) => {
        const now = Date.now() / 1000
        const told = Number(after ?? 0)
        const start = firstAfter(realm.revocations, told)
        const page = realm.revocations.slice(start, start + pageSize)
        return {
          entries: page.map(({ revocation }) => revocation).filter(({ until }) => until >= now),
          cursor: String(page.at(-1)?.seq ?? told),
          more: start + page.length < realm.revocations.length,
        }
      },
      append: async (revocation) => {
        if (realm.revocations.length >= realm.pruneAt) {
          const now = Date.now() / 1000
          realm.revocations = realm.revocations.filter(({ revocation: { until } }) => until >= now)
          realm.pruneAt = Math.max(pageSize, 2 * realm.revocations.length)
        }
        realm.revoked += 1
        realm.revocations.push({ seq: realm.revoked, revocation: { ...revocation } })
        realm.changes.tell({ kind: 'revocations' })
      },
    },
    apiKeys: memoryApiKeys(realm.apiKeys, () => realm.changes.tell({ kind: 'api-keys' })),
    keys: {
      list: async () => [...realm.keys],
      replace: async (seen, next) => {
        if (!sameKeys(realm.keys, seen)) return false
        realm.keys = next.map((key) => ({ ...key }))
        realm.changes.tell({ kind: 'keys' })
        return true
      },
    },
    replays: realm.replays,
    secrets: {
      shared: async (name, candidate) => {
        const known = realm.secrets.get(name) ?? candidate
        realm.secrets.set(name, known)
        return known
      },
    },
    records: realm.records,
    audit,
    feed: {
      subscribe: (listener) => {
        const end = realm.changes.subscribe(listener)
        subscriptions.add(end)
        return () => {
          subscriptions.delete(end)
          end()
        }
      },
      heardAt: () => Number.POSITIVE_INFINITY,
    },
    fault: () => undefined,
    close: async () => {
      await audit.close()
      for (const end of subscriptions) end()
      subscriptions.clear()
    },
  }
}
