import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type ClientsEdge, startClientsEdge } from './denials-edge.ts'

const policy = `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
identity:
  - { name: users, type: oidc, issuer: "@users@", audience: [edge] }
  - { name: passwords, type: basic }
routes:
  - { id: any, methods: [GET, POST], path: /any/** }
  - { id: registry, methods: [GET, POST], path: /registry/**, identity: [passwords, users] }
`

/** What a Git server answers for a repository with one branch (gitprotocol-http, "Smart Clients"). */
const advertisement = (() => {
  const line = (text: string): string => (text.length + 4).toString(16).padStart(4, '0') + text
  const id = 'a'.repeat(40)
  return `${line('# service=git-upload-pack\n')}0000${line(`${id} HEAD\0symref=HEAD:refs/heads/main\n`)}${line(`${id} refs/heads/main\n`)}0000`
})()

const run = promisify(execFile)
const has = (program: string): boolean => spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0

describe('clients that log in with a password, through Envoy', function () {
  this.timeout(60_000)
  let upstream: Upstream
  let edge: ClientsEdge
  let folder: TemporaryFolder
  let token: string

  before(async () => {
    folder = temporaryFolder()
    upstream = await startUpstream('upstream', {
      answer: (request, response) => {
        if (request.url?.includes('/info/refs?service=git-upload-pack')) {
          response.writeHead(200, { 'content-type': 'application/x-git-upload-pack-advertisement' }).end(advertisement)
          return true
        }
        if (!request.url?.endsWith('/-/whoami')) return false
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ username: 'alice' }))
        return true
      },
    })
    edge = await startClientsEdge(policy, upstream.port)
    token = await edge.users.mint({ sub: 'alice', aud: 'edge' })
  })
  after(async () => {
    await edge?.stop()
    await upstream?.stop()
    folder?.remove()
  })

  /** Nothing of the machine's own settings, and no question to a terminal. */
  const env = () => ({
    ...{ PATH: process.env['PATH'] ?? '', HOME: folder.path, GIT_CONFIG_NOSYSTEM: '1', GIT_TERMINAL_PROMPT: '0' },
    ...{ npm_config_userconfig: folder.file('npmrc'), npm_config_cache: folder.file('npm'), npm_config_update_notifier: 'false' },
  })
  const client = (program: string, ...args: string[]) => run(program, args, { env: env(), timeout: 30_000 })
  const last = () => upstream.received.at(-1)!

  for (const [where, path] of Object.entries({ 'basic among all validators': '/any', 'a route of its own': '/registry' })) {
    describe(where, () => {
      it('curl, which waits to be asked, sends what .netrc has', async function () {
        if (!has('curl')) this.skip()
        writeFileSync(folder.file('.netrc'), `machine 127.0.0.1 login alice password ${token}\n`, { mode: 0o600 })
        const { stdout } = await client('curl', '--silent', '--netrc', '--anyauth', `http://127.0.0.1:${edge.port}${path}/x`)
        assert.match(stdout, /"upstream":"upstream"/)
        assert.equal(last().headers['authorization'], undefined)
      })

      it('curl is refused with a wrong password, once and not again and again', async function () {
        if (!has('curl')) this.skip()
        const args = ['--silent', '--output', '/dev/null', '--write-out', '%{http_code}', '--anyauth', '--user', 'alice:wrong']
        assert.equal((await client('curl', ...args, `http://127.0.0.1:${edge.port}${path}/x`)).stdout, '401')
      })

      it('git sends its password, and lists the branches', async function () {
        if (!has('git')) this.skip()
        const { stdout } = await client('git', 'ls-remote', `http://alice:${token}@127.0.0.1:${edge.port}${path}/repository.git`)
        assert.match(stdout, /^a{40}\tHEAD\na{40}\trefs\/heads\/main\n$/)
        assert.equal(last().headers['authorization'], undefined)
      })

      it('npm says who it is, with a password and with a token', async function () {
        if (!has('npm')) this.skip()
        const registry = `127.0.0.1:${edge.port}${path}/`
        for (const line of [`_auth=${btoa(`alice:${token}`)}`, `_authToken=${token}`]) {
          writeFileSync(folder.file('npmrc'), `//${registry}:${line}\n`, { mode: 0o600 })
          assert.match((await client('npm', 'whoami', '--registry', `http://${registry}`)).stdout, /^alice\n$/)
        }
      })
    })
  }
})
