import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import type { AuditEvent } from '../../src/core/audit-event.ts'
import { type Change, type State, Unavailable } from '../../src/core/ports.ts'
import { verifyTrail } from '../support/audit.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { holdsUpFor } from './revocation-stall.ts'
import { oldSteps } from './sqlite-versions.ts'

const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])

/** A file of the first version. */
const version1 = `${oldSteps[0]}PRAGMA application_id = 1886614638; PRAGMA user_version = 1;`

describe('state in a SQLite file', () => {
  let folder: TemporaryFolder
  const opened: State[] = []
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(async () => {
    for (const state of opened.splice(0)) await state.close()
    folder.remove()
  })
  const open = async (path = folder.file('p.db')) => {
    const state = await openSqliteState({ path, realm: 'default' })
    opened.push(state)
    return state
  }
  const refused = (path: string, sentence: RegExp) =>
    rejects(
      openSqliteState({ path, realm: 'default' }),
      (error: Error) => error.name === 'StateRefused' && sentence.test(error.message) && error.message.includes(path),
    )
  const mode = (name: string) => statSync(folder.file(name)).mode & 0o777

  it('makes its files for their owner alone, and the folder too', async () => {
    const state = await open(folder.file('deep/er/p.db'))
    await state.labels.write('sandbox', 's', owned('alice'))
    for (const name of ['deep/er/p.db', 'deep/er/p.db-wal', 'deep/er/p.db-shm']) equal(mode(name), 0o600, name)
    equal(mode('deep'), 0o700)
  })

  it('refuses a file that others may read', async () => {
    writeFileSync(folder.file('p.db'), '')
    chmodSync(folder.file('p.db'), 0o644)
    await refused(folder.file('p.db'), /has mode 0644: expected 0600/)
  })

  it('refuses what cannot be written', async () => {
    mkdirSync(folder.file('folder'))
    await refused(folder.file('folder'), /cannot be opened for writing \(EISDIR\)/)
    writeFileSync(folder.file('file'), '', { mode: 0o600 })
    await refused(folder.file('file/p.db'), /cannot be opened for writing/)
    await refused('/proc/p.db', /cannot be opened for writing/)
    // Where no folder can be made: a start that is refused, not one that tries for ever.
    await refused('/proc/no/such/p.db', /cannot be opened for writing/)
  })

  it('refuses a damaged file, and one that is no database', async () => {
    writeFileSync(folder.file('text.db'), 'no database at all, '.repeat(100), { mode: 0o600 })
    await refused(folder.file('text.db'), /is damaged or no SQLite database/)
  })

  it('refuses the database of another program', async () => {
    const path = folder.file('other.db')
    writeFileSync(path, '', { mode: 0o600 })
    const other = new DatabaseSync(path)
    other.exec('CREATE TABLE things (a)')
    other.close()
    await refused(path, /is a database of something else/)
  })

  it('refuses a newer schema, and leaves it alone', async () => {
    const path = folder.file('p.db')
    await (await open(path)).close()
    const newer = new DatabaseSync(path)
    newer.exec('PRAGMA user_version = 99')
    await refused(path, /has schema version 99, and this program knows \d+/)
    equal(newer.prepare('PRAGMA user_version').get()?.['user_version'], 99)
    newer.close()
  })

  it('takes a file of schema version 1 along, with everything in it', async () => {
    const path = folder.file('p.db')
    writeFileSync(path, '', { mode: 0o600 })
    const old = new DatabaseSync(path)
    old.exec(version1)
    const until = Math.floor(Date.now() / 1000) + 600
    old.exec(`INSERT INTO labels VALUES ('default', 'sandbox', 's', '[["agentcube.io/owner","alice"]]');
      INSERT INTO revocations VALUES ('default', 'token', 'jti-1', 1, ${until}), ('other', 'token', 'jti-2', 1, ${until});
      INSERT INTO keys VALUES ('default', 'k', 'ES256', 1, 2, NULL, 'pem')`)
    const event = { time: '2026-01-01T00:00:00.000Z', realm: 'default' } as const
    const events: AuditEvent[] = [
      { ...event, id: 'a', type: 'decision', outcome: 'deny' },
      { ...event, id: 'b', type: 'key_rotated', outcome: 'success' },
      { ...event, id: 'c', type: 'decision', outcome: 'allow' },
    ]
    for (const each of events)
      old.prepare('INSERT INTO audit (realm, id, event) VALUES (?, ?, ?)').run('default', each.id, JSON.stringify(each))
    old.close()
    const state = await open()
    deepEqual(await state.labels.read('sandbox', 's'), { labels: owned('alice') })
    deepEqual((await state.revocations.list()).entries, [{ level: 'token', target: 'jti-1', at: 1, until }])
    equal((await state.keys.list()).length, 1)
    deepEqual(await state.audit.tail(10), events)
    const heard: Change[] = []
    state.feed.subscribe((change) => heard.push(change))
    await state.revocations.append({ level: 'token', target: 'jti-1', at: 1, until: until + 1 })
    ok(heard.some(({ kind }) => kind === 'revocations'))
    await state.audit.commit({ ...event, id: 'd', type: 'decision', outcome: 'deny' })
    const now = new DatabaseSync(path)
    ok(Number(now.prepare('PRAGMA user_version').get()?.['user_version']) > 1)
    const ids = (table: string) =>
      now
        .prepare(`SELECT event ->> 'id' AS id, event ->> 'type' AS type FROM ${table} ORDER BY seq`)
        .all()
        .map(({ id, type }) => (type === 'audit_started' ? type : id))
    deepEqual([ids('audit'), ids('audit_decisions')], [['b'], ['a', 'c', 'audit_started', 'd']])
    deepEqual((await verifyTrail(state.audit)).problems, [])
    now.close()
  })

  it('finds a revocation that somebody else wrote or changed', async () => {
    const state = await open()
    await state.revocations.append({ level: 'token', target: 'a', at: 1, until: 99_999_999_999 })
    await state.revocations.append({ level: 'token', target: 'b', at: 1, until: 99_999_999_999 })
    const { cursor } = await state.revocations.list()
    const other = new DatabaseSync(folder.file('p.db'))
    const heard: Change[] = []
    state.feed.subscribe((change) => heard.push(change))
    other.exec(`UPDATE revocations SET level = 'subject' WHERE target = 'a'`)
    await until('the change', () => heard.some(({ kind }) => kind === 'revocations'), 1000)
    const changed = await state.revocations.list(cursor)
    deepEqual(changed.entries, [{ level: 'subject', target: 'a', at: 1, until: 99_999_999_999 }])
    other.exec(`INSERT INTO revocations (realm, level, target, at, until) VALUES ('default', 'token', 'c', 1, 99999999999)`)
    other.close()
    deepEqual(
      (await state.revocations.list(changed.cursor)).entries.map(({ target }) => target),
      ['c'],
    )
  })

  it('takes one more revocation beside 50,000 without holding up the thread', async () => {
    const state = await open()
    const other = new DatabaseSync(folder.file('p.db'))
    other.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)
      INSERT INTO revocations (realm, level, target, at, until) SELECT 'default', 'token', 'jti-' || i, 1, 99999999999 FROM n`)
    other.close()
    await holdsUpFor(state)
  }).timeout(20_000)

  it('refuses a realm that would not stay inside its keys', async () => {
    for (const realm of ['', 'a:b', '../x', 'x'.repeat(129)])
      await rejects(openSqliteState({ path: folder.file('p.db'), realm }), { name: 'StateRefused' })
  })

  it('answers labels and revocations without a promise', async () => {
    const state = await open()
    await state.labels.write('sandbox', 's', owned('alice'))
    deepEqual(state.labels.read('sandbox', 's'), { labels: owned('alice') })
    deepEqual(state.revocations.list(), { entries: [], cursor: '0 0', more: false })
  })

  it('hears of another process, and lets it write at the same time', async () => {
    const state = await open()
    const heard: Change[] = []
    state.feed.subscribe((change) => heard.push(change))
    const program = `
      const { openSqliteState } = await import(${JSON.stringify(new URL('../../src/adapters/sqlite-state.ts', import.meta.url).href)})
      const state = await openSqliteState({ path: ${JSON.stringify(folder.file('p.db'))}, realm: 'default' })
      for (let i = 0; i < 50; i++) await state.labels.write('sandbox', 'other-' + i, new Map([['a', 'b']]))
      await state.close()`
    const other = promisify(execFile)(process.execPath, ['--input-type=module', '-e', program])
    for (let i = 0; i < 50; i++) await state.labels.write('sandbox', `own-${i}`, owned('alice'))
    await other
    await until('the last of them', () => heard.some((change) => change.kind === 'label' && change.id === 'other-49'), 1000)
    equal(heard.filter((change) => change.kind === 'label').length, 100)
    equal(state.fault(), undefined)
  })

  it('tells that anything may have changed when too much did', async () => {
    const state = await open()
    const heard = new Set<Change['kind']>()
    state.feed.subscribe(({ kind }) => heard.add(kind))
    const other = new DatabaseSync(folder.file('p.db'))
    other.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
      INSERT INTO labels SELECT 'default', 'sandbox', 'id-' || i, '[]' FROM n`)
    other.close()
    await until('the change', () => heard.has('labels'), 1000)
    deepEqual([...heard].sort(), ['api-keys', 'keys', 'labels', 'revocations'])
  })

  it('has been heard from although the thread was busy for long', async () => {
    const state = await open()
    const busyUntil = performance.now() + 1300
    while (performance.now() < busyUntil);
    ok(performance.now() - state.feed.heardAt() < 100)
  })

  it('reads a row that somebody damaged as one without labels', async () => {
    const state = await open()
    const other = new DatabaseSync(folder.file('p.db'))
    for (const [i, text] of ['{', '7', '[["a",7],["b"],7,null]'].entries()) {
      other.prepare(`INSERT INTO labels VALUES ('default', 'sandbox', ?, ?)`).run(String(i), text)
      deepEqual(state.labels.read('sandbox', String(i)), { labels: new Map() })
    }
    other.close()
  })

  it('keeps the audit trail append-only', async () => {
    const state = await open()
    await state.audit.commit({ id: 'a', time: '', type: 'decision', outcome: 'deny', realm: 'default' })
    const other = new DatabaseSync(folder.file('p.db'))
    await state.audit.commit({ id: 'b', time: '', type: 'key_rotated', outcome: 'success', realm: 'default' })
    for (const table of ['audit', 'audit_decisions']) throws(() => other.exec(`UPDATE ${table} SET event = '{}'`), /append-only/)
    other.close()
  })

  it('says that it cannot be written, keeps the audit events, and recovers', async () => {
    const state = await open()
    await state.labels.write('sandbox', 's', owned('alice'))
    const other = new DatabaseSync(folder.file('p.db'))
    other.exec(`CREATE TRIGGER broken BEFORE INSERT ON audit_decisions BEGIN SELECT RAISE(ABORT, 'broken'); END`)
    const event = { time: '', type: 'decision', outcome: 'deny', realm: 'default' } as const
    state.audit.append({ ...event, id: 'appended' })
    await rejects(state.audit.commit({ ...event, id: 'committed' }), Unavailable)
    match(state.fault() ?? '', /cannot be written/)
    deepEqual(state.labels.read('sandbox', 's'), { labels: owned('alice') })
    other.exec('DROP TRIGGER broken')
    other.close()
    deepEqual(
      (await state.audit.tail(10)).map(({ id }) => id),
      ['appended', 'committed'],
    )
    equal(state.fault(), undefined)
  })
})
