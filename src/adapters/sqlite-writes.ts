import type { DatabaseSync } from 'node:sqlite'
import { type ApiKeyRecord, apiKeyKept, type Revocation, type StoredKey } from '../core/ports.ts'
import { sameKeys } from './same-keys.ts'
import { type AuditWrite, prepareAuditWrites } from './sqlite-audit.ts'
import { storedKey } from './sqlite-keys.ts'
import { type LabelWrite, prepareLabelWrites } from './sqlite-label-writes.ts'
import { prepareRecordWrites, type RecordWrite } from './sqlite-record-writes.ts'
import { storedLevel } from './stored-revocation.ts'

/** What is asked of the thread that writes; structured-cloned on its way. */
export type Write =
  | LabelWrite
  | { readonly kind: 'revoke'; readonly revocation: Revocation }
  | { readonly kind: 'replace'; readonly seen: readonly string[]; readonly next: readonly StoredKey[] }
  | { readonly kind: 'api-key'; readonly record: ApiKeyRecord }
  | { readonly kind: 'api-keys-used'; readonly uses: readonly (readonly [id: string, at: number])[] }
  | { readonly kind: 'claim'; readonly key: string; readonly until: number }
  | { readonly kind: 'secret'; readonly name: string; readonly candidate: string }
  | RecordWrite
  | AuditWrite

/** Changes kept for other processes to read; one that fell further behind is told that anything may have changed. */
const changesKept = 10_000

/** Revocations that concern nothing any more and are deleted in one transaction: more than one adds, and nobody waits long. */
const mostForgotten = 1000

/** What came of a write: what the port's function returns where that is a boolean, or what SQLite threw. */
export type Outcome = { readonly result: boolean } | { readonly error: unknown }

/**
 * The statements of each write. Those that are given together are one transaction, for the disk is waited for once; one that
 * fails takes nothing of the others with it.
 * @returns a function that throws where the transaction failed as a whole
 */
export function prepareWrites(database: DatabaseSync, realm: string): (writes: readonly Write[]) => readonly Outcome[] {
  const revoke = database.prepare(
    'INSERT INTO revocations (realm, level, target, at, until) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET until = excluded.until WHERE excluded.until > until',
  )
  const forgetRevocations = database.prepare(
    `DELETE FROM revocations WHERE seq IN (SELECT seq FROM revocations WHERE until < ? LIMIT ${mostForgotten})`,
  )
  const setApiKey = database.prepare(
    `INSERT INTO api_keys (realm, id, digest, validator, name, owner, roles, scopes, created_at, created_by, expires_at, revoked_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET revoked_at = excluded.revoked_at WHERE revoked_at IS NULL AND excluded.revoked_at IS NOT NULL`,
  )
  const ended = 'realm = ? AND min(coalesce(expires_at, 9e99), coalesce(revoked_at, 9e99)) < ?'
  const forgetUses = database.prepare(`DELETE FROM api_keys_used WHERE realm = ? AND id IN (SELECT id FROM api_keys WHERE ${ended})`)
  const forgetApiKeys = database.prepare(`DELETE FROM api_keys WHERE ${ended}`)
  const noteUsed = database.prepare(
    'INSERT INTO api_keys_used (realm, id, at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)',
  )
  const listKeys = database.prepare('SELECT * FROM keys WHERE realm = ?')
  const removeKeys = database.prepare('DELETE FROM keys WHERE realm = ?')
  const addKey = database.prepare(
    'INSERT INTO keys (realm, kid, algorithm, created_at, active_at, retired_at, keep_for, private_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  )
  const claim = database.prepare('INSERT INTO replays (realm, key, until) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
  const forgetClaims = database.prepare('DELETE FROM replays WHERE until < ?')
  const addSecret = database.prepare('INSERT INTO secrets (realm, name, value) VALUES (?, ?, ?) ON CONFLICT DO NOTHING')
  const writeLabels = prepareLabelWrites(database, realm)
  const writeRecord = prepareRecordWrites(database, realm)
  const writeAudit = prepareAuditWrites(database, realm)
  const trimChanges = database.prepare('DELETE FROM changes WHERE seq <= (SELECT max(seq) FROM changes) - ?')

  const run = (write: Write): boolean => {
    switch (write.kind) {
      case 'write':
      case 'write-absent':
      case 'swap':
      case 'remove':
        return writeLabels(write)
      case 'revoke': {
        const { target, at, until } = write.revocation
        revoke.run(realm, storedLevel(write.revocation), target, at, until)
        forgetRevocations.run(Date.now() / 1000)
        return true
      }
      case 'replace': {
        if (!sameKeys(listKeys.all(realm).map(storedKey), write.seen)) return false
        removeKeys.run(realm)
        for (const key of write.next) {
          const { kid, algorithm, createdAt, activeAt, retiredAt = null, keepFor = null, privateKey } = key
          addKey.run(realm, kid, algorithm, createdAt, activeAt, retiredAt, keepFor, privateKey)
        }
        return true
      }
      case 'api-key': {
        const { id, digest, validator, name, owner, roles, scopes, createdAt, createdBy, expiresAt, revokedAt } = write.record
        const [roleList, scopeList] = [JSON.stringify(roles), JSON.stringify(scopes)]
        const before = Date.now() / 1000 - apiKeyKept
        forgetUses.run(realm, realm, before)
        forgetApiKeys.run(realm, before)
        const times = [expiresAt ?? null, revokedAt ?? null] as const
        setApiKey.run(realm, id, digest, validator, name, owner, roleList, scopeList, createdAt, createdBy, ...times)
        return true
      }
      case 'api-keys-used':
        for (const [id, at] of write.uses) noteUsed.run(realm, id, at)
        return true
      case 'claim':
        // First, so that one that has expired can be claimed again.
        forgetClaims.run(Date.now() / 1000)
        return claim.run(realm, write.key, write.until).changes > 0
      case 'secret':
        return addSecret.run(realm, write.name, write.candidate).changes > 0
      case 'record':
      case 'record-remove':
        return writeRecord(write)
      case 'audit':
      case 'audit-cut':
        return writeAudit(write)
    }
  }

  const alone = (write: Write): Outcome => {
    database.exec('SAVEPOINT one')
    try {
      const result = run(write)
      database.exec('RELEASE one')
      return { result }
    } catch (error) {
      // A full disk and the like end the whole transaction.
      if (!database.isTransaction) throw error
      database.exec('ROLLBACK TO one; RELEASE one')
      return { error }
    }
  }

  return (writes) => {
    // Immediate: it takes the lock before it reads, so that what `replace` compared still holds when it writes.
    database.exec('BEGIN IMMEDIATE')
    try {
      const outcomes = writes.map(alone)
      trimChanges.run(changesKept)
      database.exec('COMMIT')
      return outcomes
    } catch (error) {
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
  }
}
