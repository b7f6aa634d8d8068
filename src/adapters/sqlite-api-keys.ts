import type { DatabaseSync } from 'node:sqlite'
import { isInstant } from '../core/api-key.ts'
import type { ApiKeyPage, ApiKeyRecord, ApiKeyStore } from '../core/ports.ts'
import type { Write } from './sqlite-writes.ts'

/** Keys read at a time, in the thread that checks. */
const pageSize = 1000
/** Ids asked for in one statement. */
const mostIds = 500

/** undefined where another hand wrote what is no list of texts. */
function texts(text: unknown): string[] | undefined {
  let value: unknown
  try {
    value = JSON.parse(String(text))
  } catch {}
  return Array.isArray(value) && value.every((one) => typeof one === 'string') ? value : undefined
}

/**
 * A row that another hand wrote may hold anything. An end that says nothing (a column of numbers takes any text) is long
 * past, and never none; a key whose roles or scopes say nothing is as good as revoked, and takes no other with it.
 */
function toRecord(row: Record<string, unknown>): ApiKeyRecord {
  const [roles, scopes] = [texts(row['roles']), texts(row['scopes'])]
  const createdAt = isInstant(row['created_at']) ? row['created_at'] : 0
  const end = (value: unknown): number | undefined => (value === null ? undefined : isInstant(value) ? value : createdAt)
  const revokedAt = end(row['revoked_at'])
  return {
    id: String(row['id']),
    digest: String(row['digest']),
    validator: String(row['validator']),
    name: String(row['name']),
    owner: String(row['owner']),
    roles: roles ?? [],
    scopes: scopes ?? [],
    createdAt,
    createdBy: String(row['created_by']),
    expiresAt: end(row['expires_at']),
    revokedAt: roles && scopes ? revokedAt : (revokedAt ?? createdAt),
  }
}

/** What is listed is read at once. */
export interface SqliteApiKeys extends ApiKeyStore {
  readonly list: (after?: string) => ApiKeyPage
}

export interface SqliteApiKeysNeeds {
  readonly database: DatabaseSync
  readonly realm: string
  /** Runs a read; throws what the port throws. */
  readonly read: <T>(statement: () => T) => T
  readonly write: (write: Write) => Promise<boolean>
}

/** API keys in a state file: the tables `api_keys` and `api_keys_used`. */
export function sqliteApiKeys({ database, realm, read, write }: SqliteApiKeysNeeds): SqliteApiKeys {
  const list = database.prepare('SELECT * FROM api_keys WHERE realm = ? AND seq > ? ORDER BY seq LIMIT ?')
  const used = database.prepare('SELECT id, at FROM api_keys_used WHERE realm = ? AND id IN (SELECT value FROM json_each(?))')
  return {
    list: (after) =>
      read(() => {
        const rows = list.all(realm, Number(after ?? 0), pageSize)
        const cursor = String(rows.at(-1)?.['seq'] ?? after ?? 0)
        return { anew: after === undefined, entries: rows.map(toRecord), cursor, more: rows.length === pageSize }
      }),
    append: async (record) => void (await write({ kind: 'api-key', record })),
    noteUsed: async (uses) => void (await write({ kind: 'api-keys-used', uses: [...uses] })),
    lastUsed: async (ids) => {
      const found = new Map<string, number>()
      for (let i = 0; i < ids.length; i += mostIds) {
        const asked = JSON.stringify(ids.slice(i, i + mostIds))
        for (const { id, at } of read(() => used.all(realm, asked))) found.set(String(id), Number(at))
      }
      return found
    },
  }
}
