import { deepEqual, equal, match, ok, rejects, throws } from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type Change, type State, Unavailable } from '../../src/core/ports.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])

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
    newer.exec('PRAGMA user_version = 2')
    await refused(path, /has schema version 2, and this program knows 1/)
    equal(newer.prepare('PRAGMA user_version').get()?.['user_version'], 2)
    newer.close()
  })

  it('refuses a realm that would not stay inside its keys', async () => {
    for (const realm of ['', 'a:b', '../x', 'x'.repeat(129)])
      await rejects(openSqliteState({ path: folder.file('p.db'), realm }), { name: 'StateRefused' })
  })

  it('answers labels and revocations without a promise', async () => {
    const state = await open()
    await state.labels.write('sandbox', 's', owned('alice'))
    deepEqual(state.labels.read('sandbox', 's'), { labels: owned('alice') })
    deepEqual(state.revocations.list(), [])
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
    deepEqual([...heard].sort(), ['keys', 'labels', 'revocations'])
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
    throws(() => other.exec(`UPDATE audit SET event = '{}'`), /append-only/)
    other.close()
  })

  it('says that it cannot be written, keeps the audit events, and recovers', async () => {
    const state = await open()
    await state.labels.write('sandbox', 's', owned('alice'))
    const other = new DatabaseSync(folder.file('p.db'))
    other.exec(`CREATE TRIGGER broken BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'broken'); END`)
    const event = { time: '', type: 'decision', outcome: 'deny', realm: 'default' } as const
    state.audit.append({ ...event, id: 'appended' })
    await rejects(state.audit.commit({ ...event, id: 'committed' }), Unavailable)
    match(state.fault() ?? '', /cannot be written/)
    deepEqual(state.labels.read('sandbox', 's'), { labels: owned('alice') })
    other.exec('DROP TRIGGER broken')
    other.close()
    deepEqual(
      (await state.audit.tail(10)).map(({ id }) => id),
      ['appended'],
    )
    equal(state.fault(), undefined)
  })
})
