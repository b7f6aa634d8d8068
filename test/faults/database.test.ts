import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { chmodSync, chownSync, copyFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import type { State } from '../../src/core/ports.ts'
import { freePorts } from '../support/free-port.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { serve, startService } from './direct-service.ts'
import { policyOf } from './edge.ts'
import { nothingYet, startKillLoad } from './kill-load.ts'
import { missing, readFile } from './kill-trail.ts'
import { mountSmallDisk, type SmallDisk } from './small-disk.ts'

const now = () => Math.floor(Date.now() / 1000)
const revocations = 400
/** A user who owns nothing here. */
const nobody = 65_534

/** A file with something of everything in it, closed. */
async function made(path: string): Promise<void> {
  const state = await openSqliteState({ path, realm: 'default' })
  await state.labels.write('sandbox', 's1', new Map([['agentcube.io/owner', 'alice']]))
  await state.keys.replace([], [{ kid: 'k', algorithm: 'ES256', createdAt: 1, activeAt: 2, privateKey: 'pem' } as never])
  await state.records.write('app', { id: 'a', value: { name: 'app' }, until: 0 }, undefined)
  for (let i = 0; i < revocations; i += 50)
    await Promise.all(
      Array.from({ length: 50 }, (_, k) =>
        state.revocations.append({ level: 'token', target: `target-${i + k}`.padEnd(36, 'x'), at: now(), until: now() + 86_400 }),
      ),
    )
  await state.close()
}

describe('a state file that is no good', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let path: string
  let disk: SmallDisk | undefined
  const opened: State[] = []
  beforeEach(async () => {
    folder = temporaryFolder()
    path = folder.file('postern.db')
    await made(path)
  })
  afterEach(async () => {
    for (const state of opened.splice(0)) await state.close()
    disk?.remove()
    disk = undefined
    folder.remove()
  })
  const open = async (at = path) => {
    const state = await openSqliteState({ path: at, realm: 'default' })
    opened.push(state)
    return state
  }
  /** Refused with a sentence, and not a byte of the file is another than before. */
  const refused = async (sentence: RegExp, at = path) => {
    const before = readFileSync(at)
    await rejects(
      open(at),
      (error: Error) => error.name === 'StateRefused' && error.message.includes(at) && sentence.test(error.message),
      String(sentence),
    )
    ok(readFileSync(at).equals(before), 'the file was changed')
  }
  /** As somebody else, where this is root, who may do anything. */
  const asNobody = async (work: () => Promise<void>) => {
    if (process.getuid?.() !== 0) return work()
    for (const one of [folder.path, path]) chownSync(one, nobody, nobody)
    process.seteuid!(nobody)
    try {
      await work()
    } finally {
      process.seteuid!(0)
    }
  }
  const patch = (offset: number, bytes: Uint8Array, at = path) => {
    const whole = readFileSync(at)
    whole.set(bytes, offset)
    writeFileSync(at, whole)
  }

  it('is refused where it is read-only, or its folder is', async () => {
    chmodSync(path, 0o400)
    await asNobody(() => refused(/cannot be opened for writing \(EACCES\): expected a file or folder that this user may write/))
    chmodSync(path, 0o600)
    chmodSync(folder.path, 0o500)
    await asNobody(() =>
      refused(/is read-only: expected a file, a folder and a file system that can be written|expected a folder in which/),
    )
    chmodSync(folder.path, 0o700)
    await open()
  })

  it('is refused on a read-only file system, and on a full one', async function () {
    disk = mountSmallDisk(folder.file('disk'), 4 * 1024 * 1024)
    if (disk === undefined) return this.skip()
    const at = disk.file('postern.db')
    copyFileSync(path, at)
    disk.readOnly(true)
    await refused(/cannot be opened for writing \(EROFS\)/, at)
    disk.readOnly(false)
    disk.fill(0)
    await refused(/cannot be read or written: expected a disk that works and has room|the disk is full/, at)
    await rejects(open(disk.file('new.db')), /the disk is full/)
    disk.empty()
    equal((await (await open(at)).revocations.list()).entries.length, revocations)
    await open(disk.file('new.db'))
  })

  it('is refused where its beginning is damaged', async () => {
    const whole = readFileSync(path)
    for (const [offset, length] of [
      [0, 16],
      [0, 100],
      [16, 2],
      [100, 8],
    ] as const) {
      writeFileSync(path, whole)
      patch(offset, Buffer.alloc(length, 0xa5))
      await refused(/is damaged|is a database of something else/)
    }
    writeFileSync(path, whole)
    await open()
  })

  it('is refused where it was cut off', async () => {
    truncateSync(path, Math.floor(statSync(path).size / 2))
    await refused(/is damaged/)
    truncateSync(path, 50)
    await refused(/is damaged/)
  })

  it('is refused where any page is damaged, at its beginning and in the middle of revocations', async () => {
    const whole = readFileSync(path)
    const targets = new Set(Array.from({ length: revocations }, (_, i) => `target-${i}`.padEnd(36, 'x')))
    const database = new DatabaseSync(path, { readOnly: true })
    const pages = database.prepare('SELECT name, pgoffset, pgsize, pagetype, ncell FROM dbstat WHERE pageno > 1').all()
    database.close()
    let middles = 0
    for (const { name, pgoffset, pgsize, pagetype, ncell } of pages) {
      writeFileSync(path, whole)
      patch(Number(pgoffset), Buffer.alloc(12, 0xa5))
      await refused(/is damaged/)
      if (!/^(?:sqlite_autoindex_)?revocations/.test(String(name)) || pagetype !== 'leaf' || Number(ncell) < 20) continue
      // Content is at the end of a page: in the middle of what is there, but for what was given free.
      writeFileSync(path, whole)
      patch(Number(pgoffset) + Math.floor(Number(pgsize) * 0.8), Buffer.alloc(24, 'z'))
      try {
        const state = await openSqliteState({ path, realm: 'default' })
        const { entries } = await state.revocations.list()
        await state.close()
        deepEqual(new Set(entries.map(({ target }) => target)), targets)
      } catch (error) {
        equal((error as Error).name, 'StateRefused', String(error))
        middles += 1
      }
    }
    ok(pages.length > 20 && middles > 5, `${pages.length} pages, ${middles} middles`)
  })

  it('is refused where it is of a newer version', async () => {
    const newer = new DatabaseSync(path)
    newer.exec('PRAGMA user_version = 99')
    newer.close()
    await refused(/has schema version 99, and this program knows \d+: run the newer program that wrote it/)
  })

  it('is refused where it is of something else, and keeps its journal mode', async () => {
    const other = folder.file('other.db')
    writeFileSync(other, '', { mode: 0o600 })
    const database = new DatabaseSync(other)
    database.exec('CREATE TABLE things (a); INSERT INTO things VALUES (1)')
    database.close()
    await refused(/is a database of something else: name a file of our own/, other)
    // Marked as another program's, though it is empty.
    const marked = folder.file('marked.db')
    writeFileSync(marked, '', { mode: 0o600 })
    const empty = new DatabaseSync(marked)
    empty.exec('PRAGMA application_id = 12345')
    empty.close()
    await refused(/is a database of something else/, marked)
    for (const at of [other, marked]) ok(!existsSync(`${at}-wal`))
  })

  it('refuses the start of the service in one sentence', async () => {
    truncateSync(path, Math.floor(statSync(path).size / 2))
    const [check, admin, issuer] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`)
    const values = { check: check!, admin: admin!, issuer: issuer!, state: `file:${path}` }
    writeFileSync(folder.file('postern.yaml'), policyOf('kill.yaml', values), { mode: 0o600 })
    const program = serve(folder)
    const { code } = await program.ended
    equal(code, 1)
    const said = program.stderr.join('\n')
    equal(program.stderr.length, 1, said)
    ok(said.includes(`state file ${path} is damaged`), said)
  })
})

describe('a disk that is full for a while', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let disk: SmallDisk | undefined
  before(() => {
    folder = temporaryFolder()
    disk = mountSmallDisk(folder.file('disk'), 24 * 1024 * 1024)
  })
  after(() => {
    disk?.remove()
    folder.remove()
  })

  it('refuses admin writes with 503, checks on, loses nothing, and goes on when there is room', async function () {
    if (disk === undefined) return this.skip()
    const path = disk.file('postern.db')
    const service = await startService(folder, `file:${path}`, await freePorts(3))
    const state = async () => ((await (await service.call('GET', '/status')).json()) as { state: { up: boolean; fault?: string } }).state
    try {
      const known = nothingYet()
      const load = startKillLoad(service.call, known, 4, 'full')
      await until('acts', () => known.tokens.size > 20 && known.revoked.size > 10 && known.apiKeys.size > 5)
      disk.fill(0)
      await until('refusals', () => load.refusals.length > 200)
      deepEqual(
        load.refusals.filter((line) => !/: 503 /.test(line)),
        [],
      )
      const full = await state()
      equal(full.up, false)
      match(full.fault ?? '', /the disk is full/)
      // What was decided before still holds, for those who ask now.
      const [dead] = [...known.tokens].filter(([jti]) => known.revoked.has(jti))
      equal(await service.reason(dead![1]), 'revoked')
      disk.empty()
      const [tokens, refusals] = [known.tokens.size, load.refusals.length]
      await until('acts again', () => known.tokens.size > tokens + 20)
      equal((await state()).up, true)
      await load.stop()
      ok(load.refusals.length - refusals < 30)
      deepEqual(missing(known, readFile(path)), [])
      await service.kill()
      const kept = readFile(path)
      deepEqual(missing(known, kept), [])
      deepEqual(kept.verification.problems, [])
    } finally {
      await service.kill()
    }
  })
})
