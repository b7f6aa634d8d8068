import type { DatabaseSync } from 'node:sqlite'
import type { ApiKeyRecord, ApiKeyStore } from '../core/ports.ts'
import type { Write } from './sqlite-writes.ts'

/** Keys read at a time, in the thread that checks. */
const pageSize = 1000
/** Ids asked for in one statement. */
const mostIds = 500

const texts = (text: unknown): string[] => JSON.parse(String(text)) as string[]
const time = (value: unknown): number | undefined => (value === null ? undefined : Number(value))

const toRecord = (row: Record<string, unknown>): ApiKeyRecord => ({
  id: String(row['id']),
  digest: String(row['digest']),
  validator: String(row['validator']),
  name: String(row['name']),
  owner: String(row['owner']),
  roles: texts(row['roles']),
  scopes: texts(row['scopes']),
  createdAt: Number(row['created_at']),
  createdBy: String(row['created_by']),
  expiresAt: time(row['expires_at']),
  revokedAt: time(row['revoked_at']),
})

export interface SqliteApiKeysNeeds {
  readonly database: DatabaseSync
  readonly realm: string
  /** Runs a read; throws what the port throws. */
  readonly read: <T>(statement: () => T) => T
  readonly write: (write: Write) => Promise<boolean>
}

/** API keys in a state file: the tables `api_keys` and `api_keys_used`. */
export function sqliteApiKeys({ database, realm, read, write }: SqliteApiKeysNeeds): ApiKeyStore {
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
