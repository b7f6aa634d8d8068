import { deepEqual, equal, match, ok } from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { createIds } from '../../src/adapters/ids.ts'
import { schemaVersion } from '../../src/adapters/sqlite-schema.ts'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { makeOld } from '../adapters/sqlite-versions.ts'
import { verifyTrail } from '../support/audit.ts'
import { startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { cli } from './captured.ts'

const owned = (subject: string) => new Map([['agentcube.io/owner', subject]])

describe('postern state', () => {
  let folder: TemporaryFolder
  let path: string
  const postern = (argv: readonly string[], state = `file:${path}`) =>
    cli(['state', ...argv, '--config', folder.file('postern.yaml')], {
      POSTERN_STATE: state,
      // A policy with Redis is refused without.
      POSTERN_ISSUER_KEYS_ENCRYPTION_KEY: Buffer.alloc(32, 1).toString('base64'),
    })
  const open = (at = path) => openSqliteState({ path: at, realm: 'default' })
  const newId = createIds()
  const event = () => ({
    id: newId(),
    time: new Date().toISOString(),
    type: 'owner_changed' as const,
    outcome: 'success' as const,
    realm: 'default',
  })

  beforeEach(async () => {
    folder = temporaryFolder()
    const { code, err } = await cli(['init', '--dir', folder.path])
    equal(code, 0, err)
    path = folder.file('state.db')
    const state = await open()
    await state.labels.write('sandbox', 's1', owned('alice'))
    await state.keys.replace([], [{ kid: 'k', algorithm: 'ES256', createdAt: 1, activeAt: 2, privateKey: 'pem' }])
    for (let i = 0; i < 5; i++) await state.audit.commit(event())
    await state.close()
  })
  afterEach(() => folder.remove())
  /** Nothing is left beside what was asked for. */
  const noScraps = () =>
    deepEqual(
      readdirSync(folder.path).filter((name) => name.includes('.tmp') || name.startsWith('backup.db-')),
      [],
    )

  it('backs up a file that a service writes to all the time; what was acknowledged before is in the copy', async () => {
    const source = new URL('../../src/adapters/sqlite-state.ts', import.meta.url).href
    const writer = startProgram(process.execPath, [
      '--input-type=module',
      '-e',
      `import { openSqliteState } from ${JSON.stringify(source)}
      const state = await openSqliteState({ path: ${JSON.stringify(path)}, realm: 'default' })
      const event = (n) => ({ id: 'e-' + n + '-' + process.pid, time: new Date().toISOString(), type: 'owner_changed', outcome: 'success', realm: 'default' })
      for (let n = 0; ; n++) {
        await Promise.all([state.labels.write('sandbox', 'w' + n, new Map([['n', 'x'.repeat(2000)]])), state.audit.commit(event(n))])
        console.log(String(n))
      }`,
    ])
    try {
      await until('the writer', () => writer.stdout.length > 50)
      const acknowledged = Number(writer.stdout.at(-1))
      const { code, out, err } = await postern(['backup', folder.file('backup.db')])
      equal(code, 0, err)
      match(out, new RegExp(`^${path} is backed up to .*backup\\.db: \\d+ bytes, schema version ${schemaVersion}\\.`))
      const during = Number(writer.stdout.at(-1))
      // It goes on writing, and no write of it has failed.
      await until('more writes', () => Number(writer.stdout.at(-1)) > during + 5)
      ok(writer.running() && writer.stderr.every((line) => !line.includes('Unavailable')), writer.stderr.join('\n'))
      equal(statSync(folder.file('backup.db')).mode & 0o777, 0o600)
      noScraps()

      const restored = await open(folder.file('backup.db'))
      try {
        deepEqual((await restored.labels.read('sandbox', 's1'))?.labels, owned('alice'))
        for (let n = 0; n <= acknowledged; n++)
          ok((await restored.labels.read('sandbox', `w${n}`)) !== undefined, `w${n} of ${acknowledged}`)
        equal((await restored.keys.list()).length, 1)
        deepEqual((await verifyTrail(restored.audit)).problems, [])
        ok((await restored.audit.size('events')) > acknowledged)
        // And the trail goes on in it.
        await restored.audit.commit(event())
        deepEqual((await verifyTrail(restored.audit)).problems, [])
      } finally {
        await restored.close()
      }
    } finally {
      await writer.stop()
    }
  }).timeout(60_000)

  it('backs up a file that nobody has open, in one file that can be read where nothing can be written', async () => {
    const { code, out, err } = await postern(['backup', folder.file('backup.db'), '--json'])
    equal(code, 0, err)
    deepEqual(JSON.parse(out), {
      state: path,
      backup: folder.file('backup.db'),
      bytes: statSync(folder.file('backup.db')).size,
      schema: schemaVersion,
    })
    noScraps()
    const copy = new DatabaseSync(folder.file('backup.db'), { readOnly: true })
    equal(copy.prepare('PRAGMA journal_mode').get()?.['journal_mode'], 'delete')
    copy.close()
    noScraps()
  })

  it('replaces nothing that it is not told to, and never the state file', async () => {
    writeFileSync(folder.file('backup.db'), 'mine')
    const refused = async (sentence: RegExp, ...argv: string[]) => {
      const { code, out, err } = await postern(['backup', ...argv])
      deepEqual([code, out], [1, ''], err)
      match(err, sentence)
      noScraps()
    }
    await refused(/backup\.db exists already: .*--force/, folder.file('backup.db'))
    equal(readFileSync(folder.file('backup.db'), 'utf8'), 'mine')
    symlinkSync(path, folder.file('link.db'))
    for (const itself of [path, folder.file('link.db')]) await refused(/is the state file itself/, itself, '--force')
    // Its companions are a part of it, by whichever way they are named, whether they are there or not.
    for (const end of ['-wal', '-shm', '-journal']) await refused(/belongs to the state file itself/, `${path}${end}`, '--force')
    await refused(/belongs to the state file itself/, `${path}-journal`)
    await refused(/is no file/, folder.path, '--force')
    await refused(/cannot be written \(ENOENT\)/, folder.file('none/backup.db'))
    writeFileSync(folder.file('open.db-wal'), '')
    await refused(/open\.db-wal belongs to a database that is open/, folder.file('open.db'))
    const { code, err } = await postern(['backup', folder.file('backup.db'), '--force'])
    equal(code, 0, err)
    equal((await postern(['check', '--file', folder.file('backup.db')])).code, 0)
    equal(statSync(folder.file('backup.db')).mode & 0o777, 0o600)
  })

  it('says what to do where state is no file, or there is none', async () => {
    for (const command of [['backup', folder.file('backup.db')], ['check']]) {
      const [memory, redis] = [await postern(command, 'memory:'), await postern(command, 'redis://localhost:1')]
      deepEqual([memory.code, redis.code], [1, 1])
      match(memory.err, /state is in memory: .*file:PATH/)
      match(redis.err, /state is in Redis: back it up there, by BGSAVE/)
      const none = await postern(command, `file:${folder.file('none.db')}`)
      deepEqual([none.code, none.err], [1, `there is no state file ${folder.file('none.db')}\n`])
    }
    deepEqual([existsSync(folder.file('none.db')), existsSync(folder.file('backup.db'))], [false, false])
  })

  it('tells whether a file is sound, its schema, and how much is in it', async () => {
    const service = await open()
    try {
      const { code, out, err } = await postern(['check', '--json'])
      equal(code, 0, err)
      const found = JSON.parse(out)
      deepEqual(
        [found.state, found.schema, found.known_schema, found.sound, found.problems],
        [path, schemaVersion, schemaVersion, true, []],
      )
      deepEqual([found.rows.labels, found.rows.keys, found.rows.audit, found.rows.revocations], [1, 1, 6, 0])
      const shown = await postern(['check'])
      match(shown.out, /integrity +ok/)
      match(shown.out, /labels +1\n/)
      await service.labels.write('sandbox', 's2', owned('bob'))
      match((await postern(['check'])).out, /labels +2\n/)
    } finally {
      await service.close()
    }
  })

  it('looks at a file of an older schema and leaves it so, and refuses a newer and a foreign one', async () => {
    makeOld(folder.file('old.db'), 3, () => {})
    chmodSync(folder.file('old.db'), 0o600)
    const old = await postern(['check', '--file', folder.file('old.db')])
    equal(old.code, 0, old.err)
    match(old.out, new RegExp(`schema +3 \\(the next start brings it to ${schemaVersion}\\)`))
    equal((await postern(['backup', folder.file('old-backup.db')], `file:${folder.file('old.db')}`)).code, 0)
    match((await postern(['check', '--file', folder.file('old-backup.db')])).out, /schema +3 /)

    copyFileSync(folder.file('old.db'), folder.file('newer.db'))
    const newer = new DatabaseSync(folder.file('newer.db'))
    newer.exec('PRAGMA user_version = 99')
    newer.close()
    for (const [state, sentence] of [
      ['newer.db', /has schema version 99, and this program knows/],
      ['postern.yaml', /damaged or no SQLite database/],
    ] as const)
      for (const command of [['check'], ['backup', folder.file('backup.db')]]) {
        const { code, err } = await postern(command, `file:${folder.file(state)}`)
        equal(code, 1)
        match(err, sentence)
      }
  })

  it('finds damage, and makes no backup of it', async () => {
    const state = await open()
    for (let n = 0; n < 200; n++) await state.labels.write('sandbox', `padding-${n}`, new Map([['x', 'y'.repeat(500)]]))
    await state.close()
    await sleep(10)
    const size = statSync(path).size
    ok(size > 100_000, `${size}`)
    // A page in the middle, whole.
    const file = openSync(path, 'r+')
    for (let at = Math.floor(size / 2 / 4096) * 4096; at < size - 8192; at += 4096) writeSync(file, Buffer.alloc(4096, 0x5a), 0, 4096, at)
    const { code, err, out } = await postern(['check'])
    equal(code, 1)
    match(out + err, /damaged/)
    const made = await postern(['backup', folder.file('backup.db')])
    equal(made.code, 1)
    match(made.err, /damaged/)
    equal(existsSync(folder.file('backup.db')), false)
    noScraps()
  })
})
