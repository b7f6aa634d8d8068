import { deepEqual, equal, ok } from 'node:assert/strict'
import { chmodSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { schemaVersion } from '../../src/adapters/sqlite-schema.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { keyVersion } from '../../src/core/ports.ts'
import { verifyTrail } from '../support/audit.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { makeOld, oldSteps } from './sqlite-versions.ts'

const until = Math.floor(Date.now() / 1000) + 600
const event = (id: string, type: AuditEvent['type']): AuditEvent => ({
  id,
  time: '2026-01-01T00:00:00.000Z',
  type,
  outcome: 'success',
  realm: 'default',
})
const events = [event('a', 'key_rotated'), event('b', 'owner_changed')]

/** What a program of this version had written. */
function fill(database: DatabaseSync, version: number): void {
  database.exec(`INSERT INTO labels VALUES ('default', 'sandbox', 's', '[["agentcube.io/owner","alice"]]');
    INSERT INTO revocations (realm, level, target, at, until) VALUES ('default', 'token', 'jti', 1, ${until}), ('other', 'token', 'x', 1, ${until});
    INSERT INTO keys (realm, kid, algorithm, created_at, active_at, retired_at, private_key) VALUES ('default', 'k', 'ES256', 1, 2, 3, 'pem')`)
  for (const each of events)
    database.prepare('INSERT INTO audit (realm, id, event) VALUES (?, ?, ?)').run('default', each.id, JSON.stringify(each))
  if (version >= 2)
    database
      .prepare('INSERT INTO audit_decisions (realm, id, event) VALUES (?, ?, ?)')
      .run('default', 'd', JSON.stringify({ ...event('d', 'decision'), outcome: 'deny' }))
  if (version >= 3)
    database.exec(`INSERT INTO api_keys (realm, id, digest, validator, name, owner, roles, scopes, created_at, created_by, expires_at, revoked_at)
        VALUES ('default', 'key', 'd1', 'keys', 'n', 'acme', '["r"]', '[]', 5, 'test', NULL, NULL);
      INSERT INTO api_keys_used VALUES ('default', 'key', 7)`)
  if (version >= 4)
    database.exec(`INSERT INTO replays VALUES ('default', 'proof', ${until}); INSERT INTO secrets VALUES ('default', 'name', 'secret')`)
  if (version >= 5) database.exec(`INSERT INTO records VALUES ('default', 'app', 'one', '{"n":1}', 0, 'r1')`)
  if (version >= 6) database.exec('UPDATE keys SET keep_for = 60')
}

describe('a state file of an older schema', () => {
  it('has a fixture for each version but this one, or for all', () => {
    ok(oldSteps.length >= schemaVersion - 1, `add the step to version ${schemaVersion} to test/adapters/sqlite-versions.ts`)
  })

  for (const version of oldSteps.map((_, i) => i + 1))
    it(`is brought forward from version ${version} with everything in it`, async () => {
      const folder = temporaryFolder()
      const path = folder.file('p.db')
      makeOld(path, version, (database) => fill(database, version))
      chmodSync(path, 0o600)
      // Of several that start at once on the old file, one brings it forward.
      const [state, other] = await Promise.all([openSqliteState({ path, realm: 'default' }), openSqliteState({ path, realm: 'default' })])
      try {
        deepEqual((await state.labels.read('sandbox', 's'))?.labels, new Map([['agentcube.io/owner', 'alice']]))
        deepEqual((await state.labels.list({}, 10)).entries.length, 1)
        deepEqual((await state.revocations.list()).entries, [{ level: 'token', target: 'jti', at: 1, until }])
        const [kept] = await state.keys.list()
        equal(kept && keyVersion(kept), keyVersion({ kid: 'k', activeAt: 2, retiredAt: 3, ...(version >= 6 ? { keepFor: 60 } : {}) }))
        const decisions = version >= 2 ? [{ ...event('d', 'decision'), outcome: 'deny' }] : []
        deepEqual(new Set(await state.audit.tail(10)), new Set([...events, ...decisions]))
        const keys = (await state.apiKeys.list()).entries
        deepEqual(
          keys.map(({ id, owner, roles }) => [id, owner, roles]),
          version >= 3 ? [['key', 'acme', ['r']]] : [],
        )
        equal((await state.apiKeys.lastUsed(['key'])).get('key'), version >= 3 ? 7 : undefined)
        equal(await state.replays.claim('proof', until), version < 4)
        equal(await state.secrets.shared('name', 'new'), version >= 4 ? 'secret' : 'new')
        deepEqual((await state.records.read('app', 'one'))?.value, version >= 5 ? { n: 1 } : undefined)

        // And it is written to as any other.
        equal(await other.labels.swap('sandbox', 's', new Map([['agentcube.io/owner', 'alice']]), new Map([['a', 'b']])), true)
        ok(await state.records.write('capture', { id: 'new', value: {}, until: 0 }, undefined))
        await state.revocations.append({ level: 'token', target: 'new', at: 1, until })
        await state.audit.commit(event('z', 'owner_changed'))
        deepEqual((await verifyTrail(state.audit)).problems, [])
        const now = new DatabaseSync(path, { readOnly: true })
        equal(now.prepare('PRAGMA user_version').get()?.['user_version'], schemaVersion)
        deepEqual(
          now
            .prepare('PRAGMA integrity_check')
            .all()
            .map((row) => row['integrity_check']),
          ['ok'],
        )
        now.close()
      } finally {
        await Promise.all([state.close(), other.close()])
        folder.remove()
      }
    })
})
