import type { AuditEvent } from '../core/audit-event.ts'
import type { Labels } from '../core/ownership.ts'
import type { Revocation, State, StoredKey } from '../core/ports.ts'
import { type Changes, createChanges } from './changes.ts'
import { checkRealm } from './state-refused.ts'

/** Events kept before the oldest are forgotten. */
const auditLimit = 10_000

interface Realm {
  readonly labels: Map<string, Labels>
  revocations: Revocation[]
  keys: StoredKey[]
  readonly audit: AuditEvent[]
  readonly changes: Changes
}

/** What several handles of one process may share; gone with the process. */
export interface MemoryStore {
  readonly realm: (name: string) => Realm
}

export function createMemoryStore(): MemoryStore {
  const realms = new Map<string, Realm>()
  return {
    realm: (name) => {
      const known = realms.get(name)
      if (known !== undefined) return known
      const made: Realm = { labels: new Map(), revocations: [], keys: [], audit: [], changes: createChanges() }
      realms.set(name, made)
      return made
    },
  }
}

export interface MemoryStateOptions {
  readonly realm: string
  /** Absent: a store of its own. */
  readonly store?: MemoryStore
}

/** State of one process: one worker, one replica, nothing survives. @throws {StateRefused} for a bad realm */
export async function openMemoryState(options: MemoryStateOptions): Promise<State> {
  checkRealm(options.realm)
  const realm = (options.store ?? createMemoryStore()).realm(options.realm)
  // Resource kinds hold no colon, so that the pair stays unambiguous.
  const keyOf = (resource: string, id: string) => `${resource}:${id}`
  const subscriptions = new Set<() => void>()

  const appendEvent = (event: AuditEvent) => {
    realm.audit.push(event)
    if (realm.audit.length > auditLimit) realm.audit.splice(0, realm.audit.length - auditLimit)
  }

  return {
    kind: 'memory',
    labels: {
      read: (resource, id) => {
        const labels = realm.labels.get(keyOf(resource, id))
        return labels === undefined ? undefined : { labels }
      },
      write: async (resource, id, labels) => {
        if (labels.size === 0) realm.labels.delete(keyOf(resource, id))
        else realm.labels.set(keyOf(resource, id), new Map(labels))
        realm.changes.tell({ kind: 'label', source: undefined, resource, id })
      },
      remove: async (resource, id) => {
        const removed = realm.labels.delete(keyOf(resource, id))
        if (removed) realm.changes.tell({ kind: 'label', source: undefined, resource, id })
        return removed
      },
    },
    revocations: {
      list: () => {
        const now = Date.now() / 1000
        realm.revocations = realm.revocations.filter(({ until }) => until >= now)
        return [...realm.revocations]
      },
      append: async (revocation) => {
        realm.revocations.push({ ...revocation })
        realm.changes.tell({ kind: 'revocations' })
      },
    },
    keys: {
      list: async () => [...realm.keys],
      replace: async (seen, next) => {
        const kids = new Set(seen)
        if (kids.size !== realm.keys.length || !realm.keys.every(({ kid }) => kids.has(kid))) return false
        realm.keys = next.map((key) => ({ ...key }))
        realm.changes.tell({ kind: 'keys' })
        return true
      },
    },
    audit: {
      append: appendEvent,
      commit: async (event) => appendEvent(event),
      tail: async (limit) => (limit > 0 ? realm.audit.slice(-limit) : []),
    },
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
      for (const end of subscriptions) end()
      subscriptions.clear()
    },
  }
}
