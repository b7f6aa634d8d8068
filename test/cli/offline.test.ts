import assert from 'node:assert/strict'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { byPrecedence } from '../../src/cli/routes.ts'
import { table } from '../../src/cli/table.ts'
import { relative, seconds } from '../../src/cli/token.ts'
import type { RouteSettings } from '../../src/config/schema-routes.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { cli } from './captured.ts'

const cases = fileURLToPath(new URL('cases.yaml', import.meta.url))

describe('postern, offline', () => {
  let folder: TemporaryFolder
  let config: string
  before(async () => {
    folder = temporaryFolder()
    const { code, err } = await cli(['init', '--dir', folder.path])
    assert.equal(code, 0, err)
    config = folder.file('postern.yaml')
  })
  after(() => folder.remove())

  it('tells its version, its help, and what is wrong with a command line', async () => {
    assert.match((await cli(['--version'])).out, /^\d+\.\d+\.\d+\n$/)
    assert.equal((await cli(['--help'])).code, 0)
    for (const argv of [['bogus'], ['explain'], ['lint', '--bogus'], ['owner', 'bogus'], ['owner', 'get'], ['token', 'mint']]) {
      const { code, err } = await cli(argv)
      assert.equal(code, 2, argv.join(' '))
      assert.match(err, /error: /, argv.join(' '))
    }
  })

  describe('init', () => {
    it('writes a policy without faults, and a secret that nobody else reads', async () => {
      const { code, out } = await cli(['lint', '--json', '--config', config])
      assert.equal(code, 0, out)
      const { ok, faults, warnings } = JSON.parse(out) as { ok: boolean; faults: object[]; warnings: { message: string }[] }
      assert.deepEqual([ok, faults], [true, []])
      assert.deepEqual(
        warnings.map(({ message }) => message.split(':')[0]),
        ['replicas would not share a state file'],
      )
      assert.equal(statSync(folder.file('admin.secret')).mode & 0o777, 0o600)
      assert.match(readFileSync(folder.file('envoy.yaml'), 'utf8'), /ext_authz/)
    })

    it('writes over nothing, and over all but the secret with --force', async () => {
      const secret = readFileSync(folder.file('admin.secret'), 'utf8')
      const { code, err } = await cli(['init', '--dir', folder.path])
      assert.equal(code, 1)
      assert.match(err, /there already; --force/)
      assert.equal((await cli(['init', '--dir', folder.path, '--force'])).code, 0)
      assert.equal(readFileSync(folder.file('admin.secret'), 'utf8'), secret)
    })
  })

  describe('lint', () => {
    it('ends with 1 for warnings under --strict, and prints the schema', async () => {
      assert.equal((await cli(['lint', '--strict', '--config', config])).code, 1)
      const { out } = await cli(['lint', '--schema'])
      assert.equal((JSON.parse(out) as { title: string }).title, 'Postern policy file')
    })

    it('tells every fault with its place and ends with 2', async () => {
      const broken = folder.file('broken.yaml')
      writeFileSync(broken, readFileSync(config, 'utf8').replace('version: 1', 'version: 7').replace('methods: [POST]', 'methodz: [POST]'))
      const { code, out } = await cli(['lint', broken])
      assert.equal(code, 2)
      assert.match(out, /broken\.yaml:2:\d+: version: /)
      assert.match(out, /broken\.yaml:\d+:\d+: .*methodz/)
      assert.equal((await cli(['routes', '--config', broken])).code, 2)
    })

    it('says what to do where there is no file', async () => {
      const { code, err } = await cli(['lint', '--config', folder.file('nowhere.yaml')])
      assert.equal(code, 2)
      assert.match(err, /nowhere\.yaml: there is no policy file.*postern init/)
      assert.equal((await cli(['lint'], { POSTERN_CONFIG: config })).code, 0)
    })
  })

  describe('routes', () => {
    it('lists them by precedence', async () => {
      const { code, out } = await cli(['routes', '--config', config])
      assert.equal(code, 0)
      const lines = out.trimEnd().split('\n')
      assert.match(lines[0]!, /^ROUTE +HOST +METHODS +PATH +DEMANDS +OWNER +DOWNSTREAM +FLAGS$/)
      assert.equal(lines.length, 4)
      assert.match(out, /invoke-sandbox +\* +GET,POST +\/v1\/sandboxes\/\{id\}\/\*\* .*bypass admin/)
      assert.equal((JSON.parse((await cli(['routes', '--json', '--config', config])).out) as object[]).length, 3)
    })

    it('says what routes do with owners', async () => {
      const policy = fileURLToPath(new URL('../cases/policy-ownership.yaml', import.meta.url))
      const { out } = await cli(['routes', '--config', policy])
      for (const said of [
        'box by path:id (strict)',
        'box by path:id (bypass admin; removes it)',
        'box by path:id (bypass admin; direct)',
        'lists box (bypass admin)',
        'lists box (bypass admin; filtered)',
        'captures box',
      ])
        assert.ok(
          out.split('\n').some((line) => line.includes(` ${said} `)),
          said,
        )
    })

    it('puts exact hosts first, then long suffixes, then static before parameter before wildcards', () => {
      const routes = [
        ['*', '/**'],
        ['*', '/a/{x}'],
        ['*', '/a/b'],
        ['*', '/a/*'],
        ['*.example', '/a'],
        ['*.deep.example', '/a'],
        ['api.example', '/**'],
      ].map(([host, path]) => ({ id: `${host}${path}`, host: host === '*' ? undefined : host, path }) as unknown as RouteSettings)
      assert.deepEqual(
        routes.sort(byPrecedence).map(({ id }) => id),
        ['api.example/**', '*.deep.example/a', '*.example/a', '*/a/b', '*/a/{x}', '*/a/*', '*/**'],
      )
    })
  })

  describe('explain', () => {
    const path = ['--path', '/v1/sandboxes/s1/x']

    it('tells what each stage saw, and ends with 1 on a denial', async () => {
      const { code, out } = await cli(['explain', '--config', config, ...path])
      assert.equal(code, 1)
      assert.match(out, /^route +passed +route=invoke-sandbox {2}id=s1$/m)
      assert.match(out, /^identify +no_credential/m)
      assert.match(out, /^own +not reached/m)
    })

    it('tells headers set and removed on an allow, and never the token', async () => {
      const payload = { iss: 'http://127.0.0.1:9193', aud: 'postern', sub: 'alice', roles: ['sandbox:invoke'], iat: 1, exp: 4_000_000_000 }
      const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
      const token = `${part({ alg: 'ES256', typ: 'at+jwt' })}.${part(payload)}.${part({ s: 1 })}`
      const label = ['--label', 'sandbox:s1:alice']
      const { code, out, err } = await cli(['explain', '--config', config, ...path, ...label, '--token', '-'], {}, `${token}\n`)
      assert.equal(code, 0, out)
      assert.match(out, /^own +passed +resource=sandbox:s1 {2}owner_match=yes$/m)
      assert.match(out, /^set +authorization +Bearer <\d+ characters>$/m)
      assert.match(out, /^remove +x-postern-workload$/m)
      assert.match(err, /signatures are not checked/)
      assert.equal(/eyJ/.test(out), false)
      const json = JSON.parse((await cli(['explain', '--json', '--config', config, ...path, ...label, '--token', token])).out) as {
        decision: string
      }
      assert.equal(json.decision, 'allow')
    })

    it('says what it expected', async () => {
      for (const bad of [
        ['--header', 'nocolon'],
        ['--label', 'x'],
        ['--jwt-payload', 'users=1'],
        ['--now', 'soon'],
      ]) {
        const { code, err } = await cli(['explain', '--config', config, ...path, ...bad])
        assert.equal(code, 2, bad.join(' '))
        assert.match(err, /expected/)
      }
    })
  })

  describe('test', () => {
    it('runs a table, every case of which passes', async () => {
      const { code, out } = await cli(['test', cases, '--config', config])
      assert.equal(code, 0, out)
      assert.match(out, /^10 passed, 0 failed$/m)
    })

    it('ends with 1 and says what was expected where a case fails', async () => {
      const file = folder.file('failing.yaml')
      writeFileSync(
        file,
        'policy: postern.yaml\ncases:\n  - { name: wrong, request: { path: /healthz }, expect: { decision: deny, headers: { x-a: b }, removed: [x-z], metadata: { route: other } } }\n',
      )
      const { code, out } = await cli(['test', file])
      assert.equal(code, 1)
      for (const line of [
        'decision: expected "deny", found "allow"',
        'headers.x-a: expected "b", found nothing',
        'removed: x-z is not removed',
        'metadata.route: expected "other", found "health"',
      ])
        assert.ok(out.includes(line), `${line}\n${out}`)
      assert.match(out, /^0 passed, 1 failed$/m)
      const json = JSON.parse((await cli(['test', '--json', file])).out) as { failed: number }
      assert.equal(json.failed, 1)
    })

    it('ends with 2 and the line where a table is broken', async () => {
      const file = folder.file('broken-cases.yaml')
      writeFileSync(file, 'cases:\n  - name: a\n    request: { path: /x }\n    expect: { reason: bogus }\n')
      const { code, err } = await cli(['test', file, '--config', config])
      assert.equal(code, 2)
      assert.match(err, /broken-cases\.yaml:4:\d+: cases\.0\.expect\.reason: /)
      writeFileSync(file, 'cases: [\n')
      assert.equal((await cli(['test', file, '--config', config])).code, 2)
      assert.equal((await cli(['test', folder.file('none.yaml'), '--config', config])).code, 2)
    })
  })

  describe('key generate', () => {
    it('makes key pairs and encryption keys, secrets in files of mode 0600', async () => {
      const file = folder.file('client.pem')
      const { code, out } = await cli(['key', 'generate', '--out', file, '--json'])
      assert.equal(code, 0)
      assert.equal((JSON.parse(out) as { public: { crv: string } }).public.crv, 'P-256')
      assert.equal(out.includes('PRIVATE'), false)
      assert.equal(statSync(file).mode & 0o777, 0o600)
      assert.match(readFileSync(file, 'utf8'), /^-----BEGIN PRIVATE KEY-----/)
      assert.equal((await cli(['key', 'generate', '--out', file])).code, 1)
      assert.equal(Buffer.from((await cli(['key', 'generate', '--encryption'])).out.trim(), 'base64').length, 32)
    })
  })

  it('reads time spans and tells times from now', () => {
    assert.deepEqual(['90', '90s', '5m', '1h', '1d'].map(seconds), [90, 90, 300, 3600, 86_400])
    assert.throws(() => seconds('5 minutes'), /expected a time span/)
    assert.deepEqual(
      [relative(100, 100), relative(400, 100), relative(0, 7210), relative(90_061, 0)],
      ['in 0s', 'in 5m', '2h 10s ago', 'in 1d 1h'],
    )
  })

  it('keeps control characters off the terminal', () => {
    assert.equal(table(['A', 'B'], [['x\u001b[2J', 'y\nz']]), 'A     B\nx?[2J  y?z\n'.replace('A     B', 'A      B'))
  })
})
