import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isDeepStrictEqual, promisify } from 'node:util'
import { parse, stringify } from 'yaml'
import { openJsonSource } from '../../src/adapters/json-source.ts'
import { openRedisState } from '../../src/adapters/redis-state.ts'
import { faultText } from '../../src/config/faults.ts'
import { readPolicy } from '../../src/config/read.ts'
import { policySchema } from '../../src/config/schema.ts'
import { denyReasons, httpStatus, rpcCode } from '../../src/core/reasons.ts'
import { cli } from '../cli/captured.ts'
import { startRedis } from '../support/redis.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { type Bench, canRun, openBench } from './bench.ts'
import { checkout, deadLinks, pages, readPage } from './markdown.ts'
import { settingsPage, withTables } from './settings-page.ts'

const all = pages()
/** Pages whose links and tables are looked at, and whose examples are not run. */
const others = [
  'CONTRIBUTING.md',
  'SECURITY.md',
  'envoy/README.md',
  'src/README.md',
  'deploy/local/README.md',
  'docs/decisions/README.md',
  'deploy/upstreams/README.md',
  'sdk/typescript/README.md',
  'CHANGELOG.md',
]

describe('the documentation', function () {
  this.timeout(60_000)
  let cache: TemporaryFolder
  before(() => {
    cache = temporaryFolder()
  })
  after(() => cache.remove())

  describe('policies', () => {
    const base = parse(readFileSync(new URL('base.yaml', import.meta.url), 'utf8')) as object
    for (const page of all) {
      for (const { info, text, line } of page.blocks) {
        if (info !== 'yaml postern' && info !== 'yaml postern+') continue
        it(`${page.path}:${line} lints`, async () => {
          const whole = info === 'yaml postern' ? text : stringify({ ...base, ...(parse(text) as object) })
          assert.deepEqual(await faultsOf(whole), [])
        })
      }
    }

    it('are what most YAML blocks are', () => {
      const infos = all.flatMap(({ blocks }) => blocks.map(({ info }) => info)).filter((info) => info.startsWith('yaml'))
      assert.ok(infos.filter((info) => info.includes('postern')).length > 15)
      assert.ok(infos.filter((info) => info === 'yaml').length < 3)
    })
  })

  describe('commands', () => {
    for (const page of all) {
      const blocks = page.blocks.filter(({ info, untested }) => info === 'console' && untested === undefined)
      if (blocks.length === 0) continue
      describe(page.path, () => {
        let bench: Bench
        before(async () => {
          bench = await openBench(page, cache.path)
        })
        after(() => bench?.stop())
        for (const block of blocks) {
          it(`line ${block.line}`, async function () {
            if (!canRun(block)) this.skip()
            await bench.run(block)
          })
        }
      })
    }
  })

  it('counts the examples that are not run', () => {
    const examples = all.map(({ path, blocks }) => {
      const shown = blocks.filter(({ info, untested }) => info === 'console' || untested !== undefined)
      const left = shown.filter(({ untested }) => untested !== undefined).length
      const place = path.startsWith('docs/') ? path.slice(5) : `../${path}`
      return { shown: shown.length, left, told: `[${place.replace(/^\.\.\/|\.md$/g, '')}](${place}) ${left}` }
    })
    const sum = (what: 'shown' | 'left'): number => examples.reduce((so, example) => so + example[what], 0)
    const pagesWith = examples.filter(({ left }) => left > 0).map(({ told }) => told)
    const expected = `${sum('left')} of ${sum('shown')} examples are not run: ${pagesWith.join(', ')}.`
    assert.ok(sum('shown') > 100)
    const said = /^\d+ of \d+ examples are not run[\s\S]*?\n\n/m.exec(readPage('docs/README.md').text)?.[0]
    assert.equal(said?.replace(/\s+/g, ' ').trim(), expected)
  })

  it('shows commands as examples, which are run or counted', () => {
    const program = /^(?: {4}|\t)(?:\$ )?(?:npm|npx|node|postern|envoy|curl|docker|kubectl|helm|openssl|redis-cli|git) .*$/gm
    const elsewhere = all.flatMap(({ path, text }) =>
      [...text.replace(/^```[\s\S]*?^```/gm, '').matchAll(program)].map(([line]) => `${path}: ${line}`),
    )
    assert.deepEqual(elsewhere, [])
  })

  it('names tests that are there', () => {
    const tests = readdirSync(join(checkout, 'test'), { recursive: true, encoding: 'utf8' }).map((name) => `test/${name}`)
    const decisions = readdirSync(join(checkout, 'docs/decisions')).map((name) => readPage(`docs/decisions/${name}`))
    const missing = [...all, ...decisions].flatMap(({ path, text }) =>
      [...text.matchAll(/(?<![\w/])test\/[\w./-]*\w/g)]
        .map(([name]) => name)
        .filter((name) => !tests.some((test) => test === name || test.startsWith(`${name}.`) || test.startsWith(`${name}-`)))
        .map((name) => `${path}: ${name}`),
    )
    assert.deepEqual(missing, [])
  })

  it('has a tour, npm run demo, that comes out as it says', async function () {
    if (process.env['POSTERN_TEST_ENVOY'] === undefined) this.skip()
    const { stdout } = await promisify(execFile)(process.execPath, ['deploy/demo/run.ts', '--once'], { cwd: checkout, timeout: 50_000 })
    assert.match(stdout, /All \d+ steps came out as they should/)
  })

  it('has links that lead somewhere', () => {
    assert.deepEqual(
      [...all, ...others.map(readPage)].flatMap((page) => deadLinks(page, existsSync)),
      [],
    )
  })

  it('has tables whose rows are as long as their heads', () => {
    const cells = (row: string): number => row.replaceAll('\\|', '').split('|').length
    const decisions = readdirSync(join(checkout, 'docs/decisions')).map((name) => readPage(`docs/decisions/${name}`))
    const texts = [...all, ...decisions, ...others.map(readPage)].map(({ path, text }) => ({
      path,
      plain: text.replace(/^```[\s\S]*?^```/gm, ''),
    }))
    const tables = texts.flatMap(({ path, plain }) =>
      [...plain.matchAll(/(?:^\|.*\n)+/gm)].map(([table]) => ({ path, rows: table.trim().split('\n') })),
    )
    assert.ok(tables.length > 100)
    const broken = tables.flatMap(({ path, rows }) =>
      rows
        .filter((row, i) => cells(row) !== cells(rows[0]!) || (i === 1 && !/^\|(?: *:?-+:? *\|)+$/.test(row)))
        .map((row) => `${path}: ${row}`),
    )
    assert.deepEqual(broken, [])
  })

  it('names every page in its index', () => {
    const index = readPage('docs/README.md').text
    const missing = all.filter(({ path }) => path.startsWith('docs/') && path !== 'docs/README.md' && !index.includes(`(${path.slice(5)})`))
    assert.deepEqual(
      missing.map(({ path }) => path),
      [],
    )
  })

  it('has every metric of the code in operations.md, and no other', () => {
    const src = join(checkout, 'src')
    // API keys begin as metrics do, and so do the name of Envoy's cluster and what ext_proc says in `details`.
    const others = /^postern_(key_\w*|ext_proc|takeover|unusable_response)$/
    const named = (text: string): string[] =>
      [...text.matchAll(/\bpostern_[a-z_]+\b/g)].map(([name]) => name).filter((name) => !others.test(name))
    const inCode = (start: string): string[] =>
      readdirSync(src, { recursive: true, encoding: 'utf8' })
        .filter((file) => file.startsWith(start))
        .flatMap((file) => [...readFileSync(join(src, file), 'utf8').matchAll(/'(postern_[a-z_]+)'/g)].map(([, name]) => name!))
    const [service, mirror] = [inCode('adapters/metrics'), inCode('adapters/kubernetes-sync-metrics')]
    const code = [...service, ...mirror]
    const told = (page: string): string[] => [...new Set(named(readPage(page).text))].sort()
    assert.ok(new Set(service).size > 15)
    assert.deepEqual(told('docs/guides/operations.md'), [...new Set(service)].sort())
    assert.deepEqual(told('docs/guides/kubernetes-sync.md'), [...new Set(mirror)].sort())
    const elsewhere = all.flatMap(({ path, text }) => named(text).map((name) => ({ path, name })))
    assert.deepEqual(
      elsewhere.filter(({ name }) => !code.includes(name)),
      [],
    )
  })

  it('has every reason with its status in reasons.md, and in troubleshooting.md', () => {
    const reasons = readPage('docs/reference/reasons.md').text
    const rows = [...reasons.matchAll(/^\| `(\w+)` \| (\d+) \| (\d+) \|/gm)].map(([, reason, http, rpc]) => [
      reason,
      Number(http),
      Number(rpc),
    ])
    assert.deepEqual(
      rows,
      denyReasons.map((reason) => [reason, httpStatus[reason], rpcCode[httpStatus[reason]]]),
    )
    const troubles = [...readPage('docs/guides/troubleshooting.md').text.matchAll(/^\| `(\w+)` \|/gm)].map(([, reason]) => reason)
    assert.deepEqual(troubles, [...denyReasons])
  })

  it('has every setting of the schema in settings.md', () => {
    const page = readFileSync(settingsPage, 'utf8')
    assert.equal(page, withTables(page), 'stale: node test/docs/settings-page.ts')
    const names = new Set(
      [...JSON.stringify(policySchema()).matchAll(/"properties":(\{.*?\})/g)].flatMap(([, part]) =>
        [...part!.matchAll(/"([a-z_]+)":\{/g)].map(([, name]) => name!),
      ),
    )
    const missing = [...names].filter((name) => !['properties', 'items'].includes(name) && !new RegExp(`[\`.]${name}\\b`).test(page))
    assert.deepEqual(missing, [])
  })

  it('has every command and option of the command line in cli.md', async () => {
    const page = readPage('docs/reference/cli.md').text
    const missing: string[] = []
    const visit = async (words: readonly string[]): Promise<void> => {
      const { out } = await cli([...words, '--help'])
      for (const [, option] of out.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm))
        if (!page.includes(option!)) missing.push(`${words.join(' ')} ${option}`)
      const below = /\nCommands:\n([\s\S]*)$/.exec(out)?.[1] ?? ''
      for (const [, name] of below.matchAll(/^ {2}([a-z-]+)/gm)) {
        if (name === 'help') continue
        if (!page.includes(`${[...words, name].join(' ')}`)) missing.push([...words, name].join(' '))
        await visit([...words, name!])
      }
    }
    await visit([])
    assert.deepEqual(missing, [])
  })

  it('shows parts of Envoy configurations that stand in the files', () => {
    for (const [page, file] of [
      ['docs/guides/capture.md', 'envoy/capture.yaml'],
      ['docs/guides/direct-routing.md', 'envoy/direct.yaml'],
      ['docs/guides/tenants.md', 'envoy/tenants.yaml'],
    ] as const) {
      const parts = readPage(page)
        .blocks.filter(({ info }) => info === 'yaml envoy')
        .flatMap(({ text }) => parse(text) as unknown[])
      assert.ok(parts.length > 0, page)
      const whole: unknown = parse(readFileSync(join(checkout, file), 'utf8'))
      for (const part of parts) assert.ok(hasPart(whole, part), `${page}: ${JSON.stringify(part)}`)
    }
  })

  it('has a row for each Envoy file', () => {
    const files = readdirSync(join(checkout, 'envoy')).filter((name) => name.endsWith('.yaml'))
    for (const [page, row] of [
      ['docs/guides/envoy.md', /^\| \[(\S+\.yaml)\]\(\.\.\/\.\.\/envoy\/\1\) \|/gm],
      ['envoy/README.md', /^\| `(\w[\w-]*\.yaml)` \|/gm],
    ] as const)
      assert.deepEqual([...readPage(page).text.matchAll(row)].map(([, name]) => name).sort(), files.sort(), page)
  })

  it('has a verifier for upstreams that verifies', async () => {
    const page = readPage('docs/guides/downstream-tokens.md')
    const snippet = page.blocks.find(({ info }) => info === 'ts')?.text ?? ''
    const bench = await openBench(page, cache.path)
    try {
      const jose = pathToFileURL(join(checkout, 'node_modules/jose/dist/webapi/index.js')).href
      const file = join(bench.folder, 'verify.ts')
      writeFileSync(file, snippet.replace("'jose'", `'${jose}'`).replace('http://127.0.0.1:9193', bench.issuer))
      const { callerOf } = (await import(pathToFileURL(file).href)) as { callerOf: (...args: unknown[]) => Promise<string> }
      const minted = await cli(['token', 'mint', '--subject', 'alice', '--config', join(bench.folder, 'postern.yaml')])
      const header = `Bearer ${minted.out.trim()}`
      // An edge token stands for a downstream one here: it names no resource.
      assert.equal(await callerOf(header, 'postern', undefined), 'alice')
      await assert.rejects(callerOf(header, 'postern', 'sandbox:s1'), /another resource/)
      await assert.rejects(callerOf(header, 'picod', undefined), /aud/)
      await assert.rejects(callerOf(`${header.slice(0, -8)}AAAAAAAA`, 'postern', undefined))
      await assert.rejects(callerOf(null, 'postern', undefined), /no bearer token/)
    } finally {
      await bench.stop()
    }
  })

  it('has a verifier in Python that verifies', async function () {
    // The environment of AgentCube's client has PyJWT, on which that client rests.
    const python = process.env['POSTERN_TEST_SDK_PYTHON']
    if (python === undefined) this.skip()
    const page = readPage('docs/guides/downstream-tokens.md')
    const snippet = page.blocks.find(({ info }) => info === 'python')?.text ?? ''
    const bench = await openBench(page, cache.path)
    try {
      const asks = 'import sys\nwhole, audience, resource = sys.argv[1:]\nprint(caller_of(whole, audience, resource or None))\n'
      writeFileSync(join(bench.folder, 'verify.py'), `${snippet.replace('http://127.0.0.1:9193', bench.issuer)}\n${asks}`)
      const minted = await cli(['token', 'mint', '--subject', 'alice', '--config', join(bench.folder, 'postern.yaml')])
      const header = `Bearer ${minted.out.trim()}`
      const ask = async (...args: string[]): Promise<string> =>
        (await promisify(execFile)(python, ['verify.py', ...args], { cwd: bench.folder, timeout: 20_000 })).stdout.trim()
      assert.equal(await ask(header, 'postern', ''), 'alice')
      await assert.rejects(ask(header, 'postern', 'sandbox:s1'), /another resource/)
      await assert.rejects(ask(header, 'picod', ''), /InvalidAudienceError/)
      await assert.rejects(ask(`${header.slice(0, -8)}AAAAAAAA`, 'postern', ''), /InvalidSignatureError/)
      await assert.rejects(ask(header.replace('Bearer', 'Basic'), 'postern', ''), /no bearer token/)
    } finally {
      await bench.stop()
    }
  })

  it('gives Redis users the rights that they need, and no right to more', async () => {
    // Those for Sentinels and Clusters are tested with these (test/adapters/redis-rights.test.ts).
    const users = (page: string): string[] => [...readPage(page).text.matchAll(/^ {4}ACL SETUSER (.+)$/gm)].map(([, line]) => line!)
    const lines = [users('docs/guides/redis.md')[0]!, ...users('docs/guides/ownership.md')]
    assert.equal(lines.length, 2)
    const redis = await startRedis()
    const closing: (() => Promise<void>)[] = [redis.stop]
    try {
      const client = redis.client()
      for (const line of lines) await client.call('ACL', 'SETUSER', ...line.split(' '))
      const url = redis.url.replace('//', '//USER:PASSWORD@')
      const state = await openRedisState({ place: { url: url.replace('USER', 'postern') }, realm: 'default' })
      closing.push(state.close)
      await state.labels.write('sandbox', 's1', new Map([['agentcube.io/owner', 'alice']]))
      assert.equal((await state.labels.read('sandbox', 's1'))?.labels.get('agentcube.io/owner'), 'alice')
      // As the page says that a platform may write it.
      assert.equal(await client.hget('postern:default:labels:sandbox:s1', 'agentcube.io/owner'), 'alice')
      await state.revocations.append({ level: 'token', target: 't', at: 1, until: 2 })
      await state.apiKeys.list()
      await state.apiKeys.noteUsed(new Map([['k', 1]]))
      assert.equal((await state.apiKeys.lastUsed(['k'])).get('k'), 1)
      await state.keys.replace([], [{ kid: 'k', algorithm: 'ES256', createdAt: 1, activeAt: 1, privateKey: 'p' }])
      await client.set('session:x1', JSON.stringify({ ownerId: 'bob' }))
      const place = { url: url.replace('USER', 'reader') }
      const source = await openJsonSource({ name: 'a', place, key: 'session:{id}', owner: '/ownerId', ownerLabel: 'o' })
      closing.push(source.close)
      assert.equal((await source.reader.read('session', 'x1'))?.labels.get('o'), 'bob')
      assert.deepEqual([state.fault(), source.fault()], [undefined, undefined])
      for (const who of ['postern', 'reader'])
        assert.match(String(await client.call('ACL', 'DRYRUN', who, 'SET', 'other', 'x')), /no permissions|permission/i)
    } finally {
      for (const close of closing.reverse()) await close()
    }
  })
})

/** Whether a part stands somewhere in a document, all its members as they are. */
function hasPart(whole: unknown, part: unknown): boolean {
  if (typeof whole !== 'object' || whole === null) return false
  const members = whole as Record<string, unknown>
  if (Object.entries(part as object).every(([name, value]) => isDeepStrictEqual(members[name], value))) return true
  return Object.values(members).some((below) => hasPart(below, part))
}

/** What lint says against a policy, on a machine without its secrets. */
async function faultsOf(policy: string): Promise<string[]> {
  const folder = temporaryFolder()
  try {
    writeFileSync(folder.file('postern.yaml'), policy)
    const result = await readPolicy({ file: folder.file('postern.yaml'), env: {}, secrets: 'warn' })
    return result.ok ? [] : result.faults.map(faultText)
  } finally {
    folder.remove()
  }
}
