import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { type InputLine, inputLines } from '../../src/cli/owner-import-input.ts'
import { progressText } from '../../src/cli/owner-import-progress.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type Program, startProgram } from '../support/program.ts'
import { startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { cli } from './captured.ts'
import { startInitialized } from './initialized.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const label = 'agentcube.io/owner'
const million = process.env['POSTERN_TEST_MILLION'] === '1'

/** A command in a process of its own. */
const child = (...argv: string[]): Program => startProgram(process.execPath, [main, ...argv])

const lineOf = (i: number, owner = `user-${i % 100}`): string => `${JSON.stringify({ resource: 'sandbox', id: `m${i}`, owner })}\n`

/** Lines for ids from 0 on, written a part at a time. */
function writeLines(file: string, count: number): void {
  writeFileSync(file, '')
  for (let i = 0; i < count; i += 10_000) {
    appendFileSync(file, Array.from({ length: Math.min(10_000, count - i) }, (_, k) => lineOf(i + k)).join(''))
  }
}

describe('postern owner, with a running service', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let service: RunningPostern
  let at: readonly string[]
  let stop: () => Promise<void>

  before(async () => {
    ;({ folder, service, at, stop } = await startInitialized())
  })
  after(() => stop())

  const owner = (...words: string[]) => cli(['owner', ...words, ...at])
  const told = async (...words: string[]) => {
    const { code, out, err } = await owner(...words, '--json')
    assert.equal(code, 0, err)
    return JSON.parse(out) as Record<string, unknown>
  }
  const events = async (type: string) => {
    const state = await openSqliteState({ path: folder.file('postern.db'), realm: 'default' })
    const found = (await state.audit.tail(5000)).filter((event) => event.type === type)
    await state.close()
    return found
  }

  describe('one resource', () => {
    it('is set at a revision, and not at another', async () => {
      const first = await told('set', 'sandbox', 'r1', 'alice', '--if-revision', 'none')
      const again = await owner('set', 'sandbox', 'r1', 'bob', '--if-revision', 'none')
      assert.deepEqual([again.code, /412 revision_conflict/.test(again.err)], [1, true])
      const second = await told('set', 'sandbox', 'r1', 'bob', '--if-revision', String(first['revision']), '--reason', 'handed over')
      assert.notEqual(second['revision'], first['revision'])
      for (const words of [
        ['set', 'sandbox', 'r1', 'mallory'],
        ['rm', 'sandbox', 'r1'],
        ['label', 'sandbox', 'r1', 'team=red'],
        ['transfer', 'sandbox', 'r1', '--to', 'mallory', '--reason', 'r'],
      ]) {
        const late = await owner(...words, '--if-revision', String(first['revision']))
        assert.deepEqual([late.code, /412 revision_conflict/.test(late.err)], [1, true], words.join(' '))
      }
      assert.equal((await told('get', 'sandbox', 'r1'))['owner'], 'bob')
      assert.ok((await events('owner_changed')).some(({ reason, detail }) => reason === 'handed over' && detail?.['before'] === 'alice'))
    })

    it('takes labels, and goes from one to another', async () => {
      await told('set', 'sandbox:r2', 'alice')
      assert.match((await owner('label', 'sandbox:r2', 'team=red', 'old=x')).out, /^team +red$/m)
      const labels = (await told('label', 'sandbox', 'r2', 'old-', 'agentcube.io/shared-with=bob;write'))['labels']
      assert.deepEqual(labels, { [label]: 'alice', team: 'red', 'agentcube.io/shared-with': 'bob;write' })
      assert.equal((await owner('label', 'sandbox:r2', '=x')).code, 2)
      const wrong = await owner('transfer', 'sandbox:r2', '--from', 'bob', '--to', 'carol', '--reason', 'r')
      assert.match(wrong.err, /409 not_the_owner/)
      assert.match(
        (await owner('transfer', 'sandbox', 'r2', '--from', 'alice', '--to', 'carol', '--reason', 'she left')).out,
        /^owner +carol$/m,
      )
      assert.equal((await owner('transfer', 'sandbox', 'r2', '--to', 'carol')).code, 2)
      assert.equal((await owner('rm', 'sandbox:r2', '--reason', 'für immer')).out, 'removed sandbox:r2\n')
      assert.equal((await events('owner_changed')).filter(({ reason }) => reason === 'für immer').length, 1)
    })
  })

  describe('lists and exports', () => {
    before(async () => {
      for (const [id, who] of [
        ['l1', 'lena'],
        ['l2', 'lena'],
        ['l3', 'auth0|max'],
      ] as const)
        await told('set', 'list', id, who)
      await told('set', 'other', 'l1', 'lena')
      // What no capture has been able to write an owner for.
      writeFileSync(folder.file('orphan.jsonl'), `${JSON.stringify({ resource: 'list', id: 'o1', marks: { orphan: 'd 1' } })}\n`)
      assert.equal((await owner('import', folder.file('orphan.jsonl'))).code, 0)
    })
    const ids = async (...words: string[]): Promise<string[]> => {
      const { resources } = (await told('list', ...words)) as { resources: { resource: string; id: string }[] }
      return resources.map(({ resource, id }) => `${resource}:${id}`).sort()
    }

    it('are of an owner, of a kind, of orphans', async () => {
      assert.deepEqual(await ids('--owner', 'lena'), ['list:l1', 'list:l2', 'other:l1'])
      assert.deepEqual(await ids('--owner', 'lena', '--resource', 'list'), ['list:l1', 'list:l2'])
      assert.deepEqual(await ids('--owner', 'auth0|max'), ['list:l3'])
      assert.deepEqual(await ids('--orphans'), ['list:o1'])
      assert.match((await owner('list', '--orphans')).out, /^RESOURCE +OWNER +MARKS +REVISION\nlist:o1 +- +orphan +\S{22}$/m)
      const short = await owner('list', '--limit', '1', '--resource', 'list')
      assert.deepEqual([short.out.trim().split('\n').length, /there are more/.test(short.err)], [2, true])
      assert.equal((await owner('list', '--limit', '0')).code, 2)
    })

    it('come back by import as they were', async () => {
      const file = folder.file('export.jsonl')
      assert.match((await owner('export', '--resource', 'list', '-o', file)).out, /^exported 4 records/)
      assert.equal(statSync(file).mode & 0o777, 0o600)
      const lines = readFileSync(file, 'utf8')
      assert.equal((await owner('export', '--resource', 'list')).out, lines)
      for (const id of ['l1', 'l2', 'l3', 'o1']) await owner('rm', 'list', id)
      const { written } = await told('import', file)
      assert.equal(written, 4)
      const sorted = (text: string) => text.trim().split('\n').sort()
      assert.deepEqual(sorted((await owner('export', '--resource', 'list')).out), sorted(lines))
      assert.equal((await told('import', file))['same'], 4)
    })
  })

  describe('imports', () => {
    it('keeps the first owner, or replaces', async () => {
      await told('set', 'sandbox', 'k1', 'alice')
      const file = folder.file('modes.jsonl')
      writeFileSync(file, '{"resource":"sandbox","id":"k1","owner":"bob"}\n\n{"resource":"sandbox","id":"k2","owner":"bob"}')
      const kept = await told('import', file, '--reason', 'backfill of May')
      assert.deepEqual(kept, { lines: 3, written: 1, kept: 1, same: 0, rejected: 0 })
      assert.equal((await told('get', 'sandbox', 'k1'))['owner'], 'alice')
      assert.deepEqual(await told('import', file, '--replace'), { lines: 3, written: 1, kept: 0, same: 1, rejected: 0 })
      assert.equal((await told('get', 'sandbox', 'k1'))['owner'], 'bob')
      const [event] = (await events('owners_imported')).filter(({ reason }) => reason === 'backfill of May')
      assert.deepEqual([event?.actor, event?.detail?.['written'], event?.detail?.['kept']], ['admin', 1, 1])
      assert.equal(existsSync(`${file}.postern-import`), false)
    })

    it('puts aside what is refused, with what was expected, and ends with 1', async () => {
      const file = folder.file('bad.jsonl')
      const lines = [
        '{"resource":"sandbox","id":"b1","owner":"a"}',
        'nonsense',
        '{"resource":"sandbox","id":"a/b","owner":"a"}',
        '[]',
        '"x"',
      ]
      writeFileSync(
        file,
        Buffer.concat([Buffer.from(`${lines.join('\n')}\n`), Buffer.from([0xff, 0x0a]), Buffer.from(`{"a":"${'x'.repeat(70_000)}"}\n`)]),
      )
      const dry = await owner('import', file, '--dry-run')
      assert.deepEqual([dry.code, /line 3: id: /.test(dry.err), existsSync(`${file}.rejected`)], [1, true, false])
      assert.equal((await owner('get', 'sandbox', 'b1')).code, 1)
      const ran = await owner('import', file, '--json')
      assert.deepEqual([ran.code, JSON.parse(ran.out)], [1, { lines: 7, written: 1, kept: 0, same: 0, rejected: 6 }])
      assert.match(ran.err, /6 lines were refused: .*bad\.jsonl\.rejected has them/)
      const rejected = readFileSync(`${file}.rejected`, 'utf8')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Record<string, unknown>)
      assert.deepEqual(
        rejected.map(({ line, text }) => [line, text]),
        [
          [2, 'nonsense'],
          [3, lines[2]],
          [4, '[]'],
          [5, '"x"'],
          [6, undefined],
          [7, undefined],
        ],
      )
      assert.equal(statSync(`${file}.rejected`).mode & 0o777, 0o600)
      // What was refused is gone with the next import of the file.
      writeFileSync(file, `${lines[0]}\n`)
      assert.equal((await owner('import', file)).code, 0)
      assert.equal(existsSync(`${file}.rejected`), false)
    })

    it('writes to no file that others have put there, and to no device', async () => {
      const file = folder.file('linked.jsonl')
      writeFileSync(file, `${lineOf(1)}nonsense\n`)
      const other = folder.file('other')
      for (const name of ['linked.jsonl.rejected', 'linked.jsonl.postern-import.new', 'linked.out.part']) {
        writeFileSync(other, 'kept')
        symlinkSync(other, folder.file(name))
      }
      assert.equal((await owner('import', file)).code, 1)
      assert.equal((await owner('export', '--output', folder.file('linked.out'))).code, 0)
      assert.equal(readFileSync(other, 'utf8'), 'kept')
      assert.match(readFileSync(`${file}.rejected`, 'utf8'), /nonsense/)
      // Made here, so that a defect takes none of the machine's.
      const device = folder.file('device')
      execFileSync('mkfifo', [device])
      for (const words of [
        ['import', file, '--rejected', device],
        ['import', file, '--resume-file', device],
        ['export', '--output', device],
      ]) {
        const { code, err } = await owner(...words)
        assert.deepEqual([code, /device: expected a file/.test(err)], [2, true], err)
        assert.ok(statSync(device).isFIFO())
      }
    })

    it('writes a resource that comes again in the order of the lines', async () => {
      const file = folder.file('again.jsonl')
      const lines = Array.from({ length: 6000 }, (_, i) =>
        JSON.stringify({ resource: 'sandbox', id: i % 1000 === 7 ? 'again' : `g${i}`, owner: `n${i}` }),
      )
      writeFileSync(file, lines.join('\n'))
      await told('import', file, '--replace', '--concurrency', '8')
      assert.equal((await told('get', 'sandbox', 'again'))['owner'], 'n5007')
      writeFileSync(file, lines.map((line) => line.replaceAll('again', 'first')).join('\n'))
      await told('import', file, '--concurrency', '8')
      assert.equal((await told('get', 'sandbox', 'first'))['owner'], 'n7')
    })

    it('goes on after kill -9, and loses nothing', async () => {
      const file = folder.file('many.jsonl')
      const count = 20_000
      writeLines(file, count)
      // The last line is refused, and so is one that is acknowledged before the end comes.
      const text = readFileSync(file, 'utf8')
        .replace('"id":"m3"', '"id":"m/3"')
        .replace(`"id":"m${count - 1}"`, '"id":"m/x"')
      writeFileSync(file, text)
      const state = `${file}.postern-import`
      const first = child('owner', 'import', file, '--concurrency', '1', ...at)
      const offset = () => (JSON.parse(readFileSync(state, 'utf8')) as { offset: number }).offset
      while (!existsSync(state)) {
        assert.ok(first.running(), first.stderr.join('\n'))
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
      first.signal('SIGKILL')
      assert.equal((await first.ended).signal, 'SIGKILL')
      assert.ok(offset() > 0 && offset() < text.length, String(offset()))
      assert.equal(statSync(state).mode & 0o777, 0o600)

      const other = folder.file('other.jsonl')
      writeFileSync(other, 'x')
      const refused = await owner('import', other, '--resume-file', state)
      assert.deepEqual([refused.code, /was of another file/.test(refused.err)], [2, true])
      const mode = await owner('import', file, '--replace')
      assert.deepEqual([mode.code, /made without --replace/.test(mode.err)], [2, true])

      const second = child('owner', 'import', file, '--json', ...at)
      assert.equal((await second.ended).code, 1, second.stderr.join('\n'))
      assert.match(second.stderr.join('\n'), /going on after line \d+/)
      const { lines, written, kept, same, rejected } = JSON.parse(second.stdout.join('')) as Record<string, number>
      assert.deepEqual([lines, written! + same!, kept, rejected], [count, count - 2, 0, 2])
      assert.equal(existsSync(state), false)
      assert.deepEqual(
        readFileSync(`${file}.rejected`, 'utf8')
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as { line: number }).line),
        [4, count],
      )
      const found = new Map<string, unknown>()
      for (const line of (await owner('export', '--resource', 'sandbox')).out.trim().split('\n')) {
        const { id, owner } = JSON.parse(line) as { id: string; owner: string }
        if (/^m\d+$/.test(id)) found.set(id, owner)
      }
      assert.equal(found.size, count - 2)
      assert.equal(found.get('m12345'), 'user-45')
    })

    it('says how to go on when it is interrupted, and reads standard input', async () => {
      const file = folder.file('interrupted.jsonl')
      writeLines(file, 20_000)
      const state = `${file}.postern-import`
      const first = child('owner', 'import', file, '--concurrency', '1', '--replace', ...at)
      await until('the first batch', () => existsSync(state) || !first.running())
      first.signal('SIGINT')
      assert.equal((await first.ended).code, 1, first.stderr.join('\n'))
      assert.match(
        first.stderr.join('\n'),
        /interrupted\nlines up to \d+ were acknowledged: run the same command again to go on after them/,
      )
      const again = await told('import', file, '--replace')
      assert.equal(again['lines'], 20_000)
      const piped = startProgram(
        'sh',
        ['-c', `head -3 ${file} | ${process.execPath} ${main} owner import - --json --config ${service.config}`],
        { cwd: folder.path },
      )
      assert.equal((await piped.ended).code, 0, piped.stderr.join('\n'))
      assert.deepEqual(JSON.parse(piped.stdout.join('')), { lines: 3, written: 0, kept: 0, same: 3, rejected: 0 })
    })

    it('waits for a service that is busy, or away for a moment', async () => {
      const answers = [503, 429, 0, 200]
      let bodies = 0
      const server = createServer((incoming, outgoing) => {
        incoming.resume()
        incoming.on('end', () => {
          const json = (status: number, body: object) =>
            outgoing.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
          if (incoming.url === '/v1/admin/auth') return json(200, { access_token: 't' })
          bodies++
          const status = answers.shift()!
          if (status === 0) return void incoming.socket.destroy()
          return json(status, status === 200 ? { written: 1, kept: 0, same: 0, valid: 0, results: [] } : { reason: 'busy' })
        })
      }).listen(0, '127.0.0.1')
      await until('the server', () => server.listening)
      const { port } = server.address() as { port: number }
      const file = folder.file('busy.jsonl')
      writeFileSync(file, lineOf(1))
      const ran = await cli(['owner', 'import', file, '--json', '--admin', `http://127.0.0.1:${port}`], {
        POSTERN_ADMIN_SECRET: 'x'.repeat(32),
      })
      server.close()
      assert.deepEqual([ran.code, bodies, (JSON.parse(ran.out) as { written: number }).written], [0, 4, 1], ran.err)
      assert.match(ran.err, /waiting for the service: 503 busy/)
    })

    it('refuses wrong usage', async () => {
      assert.equal((await owner('import', folder.file('nothing'))).code, 2)
      assert.equal((await owner('import', service.config, '--concurrency', '17')).code, 2)
    })
  })
})

describe('lines of an import', () => {
  const parts = async function* (bytes: Buffer, size: number) {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }
  const linesOf = async (bytes: Buffer, size: number, offset = 0, line = 0): Promise<InputLine[]> => {
    const lines: InputLine[] = []
    for await (const each of inputLines(parts(bytes.subarray(offset), size), offset, line)) lines.push(each)
    return lines
  }

  it('are the same however the input comes in parts, and from any of them on', async () => {
    const text = 'one\n\nzwölf 十二\r\nlast'
    const bytes = Buffer.from(text)
    const expected = text.split('\n').map((line, i, all) => ({
      line: i + 1,
      end: Math.min(bytes.length, Buffer.byteLength(`${all.slice(0, i + 1).join('\n')}\n`)),
      text: line,
    }))
    for (let size = 1; size <= bytes.length; size++) {
      const lines = await linesOf(bytes, size)
      assert.deepEqual(lines, expected, `parts of ${size}`)
      for (const [i, { end }] of lines.entries()) assert.deepEqual(await linesOf(bytes, size, end, i + 1), expected.slice(i + 1))
    }
    assert.deepEqual(await linesOf(Buffer.from('a\n'), 8), [{ line: 1, end: 2, text: 'a' }])
  })

  it('are passed over where they are too long, and the next one is not', async () => {
    const lines = await linesOf(Buffer.from(`${'x'.repeat(64 * 1024 + 1)}\nb\n${'y'.repeat(64 * 1024)}\n`), 1000)
    assert.deepEqual(
      lines.map(({ line, end, text }) => [line, end, text?.length]),
      [
        [1, 65_538, undefined],
        [2, 65_540, 1],
        [3, 131_077, 65_536],
      ],
    )
  })
})

describe('progress of an import', () => {
  const begun = { lines: 0, offset: 0, rejected: 0 }

  it('tells share, rate and the time that is left', () => {
    const now = { lines: 250_000, offset: 25_000_000, rejected: 2 }
    const text = progressText(begun, now, 100_000_000, 10_000, true)
    assert.equal(text, '[#######---------------------]  25%  250,000 lines  25,000/s  ETA 30s  2 refused')
    assert.equal(progressText(begun, now, null, 10_000, false), '250,000 lines  25,000/s  2 refused')
    assert.match(progressText(begun, begun, 100, 0, false), /^0% {2}0 lines {2}0\/s {2}ETA \?$/)
  })
})

/** Takes minutes: once for docs/guides/ownership-backfill.md, by `POSTERN_TEST_MILLION=1`. */
describe('a million labels', function () {
  this.timeout(900_000)
  for (const kind of ['file', 'redis'] as const) {
    it(`come in one run with state ${kind}`, async function () {
      if (!million) return this.skip()
      const folder = temporaryFolder()
      const redis = kind === 'redis' ? await startRedis() : undefined
      assert.equal((await cli(['init', '--dir', folder.path])).code, 0)
      const [admin, issuer] = [await freePort(), await freePort()]
      let policy = readFileSync(folder.file('postern.yaml'), 'utf8').replace(':9192', `:${admin}`).replace(':9193', `:${issuer}`)
      if (redis) policy = policy.replace(/^state:.*$/m, `state: ${redis.url}`)
      // Keys in Redis are encrypted.
      if (redis) policy += `\nissuer: { keys: { encryption_key: "\${env:POSTERN_TEST_KEY}" } }\n`
      const env = { POSTERN_TEST_KEY: Buffer.alloc(32, 7).toString('base64') }
      const service = await startPostern(policy, { folder, env })
      try {
        const file = folder.file('million.jsonl')
        writeLines(file, 1_000_000)
        const begun = performance.now()
        const run = startProgram(
          '/usr/bin/env',
          ['time', '-v', process.execPath, main, 'owner', 'import', file, '--json', '--config', service.config],
          { env },
        )
        assert.equal((await run.ended).code, 0, run.stderr.join('\n'))
        const seconds = (performance.now() - begun) / 1000
        assert.deepEqual(JSON.parse(run.stdout.join('')), { lines: 1_000_000, written: 1_000_000, kept: 0, same: 0, rejected: 0 })
        const peak = /Maximum resident set size \(kbytes\): (\d+)/.exec(run.stderr.join('\n'))?.[1]
        const again = performance.now()
        const same = startProgram(process.execPath, [main, 'owner', 'import', file, '--json', '--replace', '--config', service.config], {
          env,
        })
        assert.equal((await same.ended).code, 0, same.stderr.join('\n'))
        const secondsAgain = (performance.now() - again) / 1000
        assert.equal((JSON.parse(same.stdout.join('')) as { same: number }).same, 1_000_000)
        console.log(`      ${kind}: ${seconds.toFixed(1)} s, peak ${peak} KiB; again ${secondsAgain.toFixed(1)} s`)
      } finally {
        await service.stop()
        await redis?.stop()
        folder.remove()
      }
    })
  }
})
