import assert from 'node:assert/strict'
import { chmodSync, readFileSync, statSync } from 'node:fs'
import { parseEnv } from 'node:util'
import { agentOf, brokerClient } from '../support/broker.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { cli, type Ran } from './captured.ts'

const lines = (text: string): string[] => text.trimEnd().split('\n')

describe('the command line of the broker', function () {
  this.timeout(40_000)
  let folder: TemporaryFolder
  let service: RunningPostern
  let env: Record<string, string>
  let [adminUrl, issuerUrl] = ['', '']

  before(async () => {
    folder = temporaryFolder()
    const [admin = 0, issuer = 0] = await freePorts(2)
    adminUrl = `http://127.0.0.1:${admin}`
    issuerUrl = `http://127.0.0.1:${issuer}`
    env = { HOME: folder.path }
    const { code, err } = await cli(['init', '--mode', 'dev', '--admin-url', adminUrl], env)
    assert.equal(code, 0, err)
    const policy = `version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  admin: { address: 127.0.0.1:${admin} }
  issuer: { address: 127.0.0.1:${issuer} }
state: "memory:"
admin: { secret: "\${env:POSTERN_ADMIN_SECRET}" }
broker: { enabled: true, trust_domain: agents.test, roles: [agent] }
identity:
  - { name: agents, type: postern, audience: postern, may_assert: [agent] }
roles: { agent: {} }
routes:
  - { id: data, path: /v1/data, roles: [agent] }
issuer:
  clients:
    - id: crawler
      auth: { secret: "\${env:CRAWLER_SECRET}" }
      grants: [token_exchange]
      exchange: { audiences: [data] }
`
    const connection = parseEnv(readFileSync(folder.file('.postern/config'), 'utf8'))
    const secrets = { POSTERN_ADMIN_SECRET: connection['POSTERN_ADMIN_SECRET']!, CRAWLER_SECRET: 'a-client-secret-of-32-characters!!' }
    service = await startPostern(policy, { env: secrets })
  })
  after(async () => {
    await service?.stop()
    folder.remove()
  })
  /** In a folder without a policy file, as operators are. */
  const run = async (...argv: string[]): Promise<Ran> => {
    const before = process.cwd()
    process.chdir(folder.path)
    try {
      return await cli(argv, env)
    } finally {
      process.chdir(before)
    }
  }
  const ok = async (...argv: string[]): Promise<string> => {
    const { code, out, err } = await run(...argv)
    assert.equal(code, 0, err)
    return out
  }

  describe('init --mode', () => {
    it('writes a connection file for its owner alone, and never over one that is there', async () => {
      const file = folder.file('.postern/config')
      assert.equal(statSync(file).mode & 0o777, 0o600)
      const { POSTERN_ADMIN_URL, POSTERN_ADMIN_SECRET } = parseEnv(readFileSync(file, 'utf8'))
      assert.equal(POSTERN_ADMIN_URL, adminUrl)
      assert.ok(POSTERN_ADMIN_SECRET!.length >= 32)
      const again = await run('init', '--mode', 'dev')
      assert.equal(again.code, 1)
      assert.match(again.err, /there already: --force writes over it/)
      assert.ok(!again.out.includes(POSTERN_ADMIN_SECRET!))
    })

    it('writes it where it is told, and over what is there with --force', async () => {
      const file = folder.file('etc/postern/config')
      const made = await ok('init', '--mode', 'prod', '--config-path', file, '--json')
      assert.deepEqual(JSON.parse(made), { file, admin_url: 'http://127.0.0.1:9192' })
      const first = readFileSync(file, 'utf8')
      chmodSync(file, 0o644)
      await ok('init', '--mode', 'prod', '--config-path', file, '--force')
      assert.notEqual(readFileSync(file, 'utf8'), first)
      assert.equal(statSync(file).mode & 0o777, 0o600)
    })

    it('says what was expected', async () => {
      assert.equal((await run('init', '--mode', 'staging')).code, 2)
      assert.equal((await run('init', '--config-path', '/tmp/x')).code, 2)
      assert.equal((await run('init', '--mode', 'dev', '--admin-url', 'ftp://x')).code, 2)
      assert.equal((await cli(['init', '--mode', 'dev'], {})).code, 2)
    })
  })

  describe('the connection', () => {
    it('is taken from the environment before the file', async () => {
      const elsewhere = await cli(['app', 'list', '--config', './postern.yaml'], { ...env, POSTERN_ADMIN_URL: 'http://127.0.0.1:1' })
      assert.notEqual(elsewhere.code, 0)
      const file = parseEnv(readFileSync(folder.file('.postern/config'), 'utf8'))
      const given = { POSTERN_ADMIN_URL: issuerUrl, POSTERN_ADMIN_SECRET: file['POSTERN_ADMIN_SECRET']! }
      const { code, err } = await cli(['app', 'list', '--json'], given)
      assert.equal(code, 0, err)
    })

    it('may be a file that is named, which has to be there, whole and private', async () => {
      const named = folder.file('named')
      const ask = (path: string) => cli(['app', 'list', '--config', './postern.yaml'], { ...env, POSTERN_CONNECTION: path })
      assert.match((await ask(named)).err, /cannot be read \(ENOENT\)/)
      await ok('init', '--mode', 'prod', '--config-path', named)
      chmodSync(named, 0o644)
      assert.match((await ask(named)).err, /open to every user/)
    })
  })

  describe('app', () => {
    it('registers, lists, shows, updates and removes', async () => {
      const { code, out, err } = await run('app', 'register', '--name', 'crawler', '--scopes', 'read:data:*,write:data:x')
      assert.equal(code, 0, err)
      const [, id = ''] = /^client_id +(\S+)$/m.exec(out) ?? []
      assert.match(out, /^client_secret +[0-9a-f]{64}$/m)
      assert.match(err, /cannot be shown again/)
      const secret = /[0-9a-f]{64}/.exec(out)![0]
      const [head = '', row = ''] = lines(await ok('app', 'list'))
      assert.match(head, /^ID +NAME +SCOPES +TOKEN TTL +CREATED$/)
      assert.match(row, new RegExp(`^${id} +crawler +read:data:\\*,write:data:x +- +\\d{4}-`))
      const updated = JSON.parse(await ok('app', 'update', '--id', id, '--scopes', 'read:data:*', '--token-ttl', '10m', '--json')) as object
      assert.deepEqual(
        { ...updated, created_at: '', updated_at: '' },
        {
          app_id: id,
          name: 'crawler',
          scopes: ['read:data:*'],
          token_ttl: 600,
          created_at: '',
          updated_at: '',
        },
      )
      assert.ok(!(await ok('app', 'get', id, '--json')).includes(secret))
      assert.equal(await ok('app', 'remove', '--id', id), `removed ${id}\n`)
      const gone = await run('app', 'get', id)
      assert.equal(gone.code, 1)
      assert.match(gone.err, /404 unknown_app/)
    })

    it('says what was expected', async () => {
      for (const argv of [['get'], ['update', '--id', 'x'], ['remove']]) assert.equal((await run('app', ...argv)).code, 2)
      assert.equal((await run('app', 'register', '--token-ttl', 'soon')).code, 2)
      assert.equal((await run('app', 'register', '--scopes', 'a"b')).code, 1)
    })
  })

  it('launch-token create prints the token alone', async () => {
    const { code, out, err } = await run(
      'launch-token',
      'create',
      '--agent-name',
      'a',
      '--scope',
      'read:data:*',
      '--ttl',
      '5m',
      '--max-ttl',
      '60',
    )
    assert.equal(code, 0, err)
    assert.match(out, /^[0-9a-f]{64}\n$/)
    assert.match(err, /^good until \S+, for one agent/)
    const made = JSON.parse(await ok('launch-token', 'create', '--agent-name', 'a', '--scope', 'x:y:z', '--reusable', '--json')) as {
      policy: object
    }
    assert.deepEqual(made.policy, { allowed_scope: ['x:y:z'], max_ttl: 300 })
    assert.equal((await run('launch-token', 'create', '--scope', 'a')).code, 2)
  })

  describe('token', () => {
    const agent = async () => {
      const broker = brokerClient(issuerUrl)
      const { POSTERN_ADMIN_SECRET } = parseEnv(readFileSync(folder.file('.postern/config'), 'utf8'))
      return agentOf(broker, await broker.login(POSTERN_ADMIN_SECRET))
    }

    it('release ends it', async () => {
      const { token } = await agent()
      assert.equal(await ok('token', 'release', '--issuer', issuerUrl, '--token', token), 'released\n')
      const again = await run('token', 'release', '--issuer', issuerUrl, '--token', token)
      assert.equal(again.code, 1)
      assert.match(again.err, /401: token is invalid or expired/)
      // The connection file names the admin listener, where agents' calls are not.
      const astray = await run('token', 'release', '--token', token)
      assert.equal(astray.code, 1)
      assert.match(astray.err, /is the admin listener.*--issuer/)
      // The place may also be that of the policy file.
      assert.equal((await cli(['token', 'release', '--config', service.config, '--token', (await agent()).token])).code, 0)
    })

    it('exchange swaps it for another, by discovery', async function () {
      const discovery = (await (await fetch(`${issuerUrl}/.well-known/openid-configuration`)).json()) as { token_endpoint?: string }
      if (discovery.token_endpoint === undefined) return this.skip()
      const { token } = await agent()
      const secret = { ...env, POSTERN_CLIENT_SECRET: 'a-client-secret-of-32-characters!!' }
      const argv = ['token', 'exchange', '--issuer', issuerUrl, '--subject-token', '-', '--audience', 'data', '--client-id', 'crawler']
      const { code, out, err } = await cli(argv, secret, `${token}\n`)
      assert.equal(code, 0, err)
      const claims = JSON.parse(Buffer.from(out.split('.')[1]!, 'base64url').toString()) as Record<string, unknown>
      assert.equal(claims['aud'], 'data')
      const wrong = await cli(argv, { ...env, POSTERN_CLIENT_SECRET: 'wrong' }, token)
      assert.equal(wrong.code, 1)
      assert.match(wrong.err, /invalid_client/)
      assert.equal((await cli(argv, env, token)).code, 2)
    })
  })
})
