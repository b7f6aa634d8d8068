import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePorts } from '../support/free-port.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const execute = promisify(execFile)
const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const unit = path('deploy/systemd/postern.service')
const text = readFileSync(unit, 'utf8')
const setting = (name: string): string[] => [...text.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value)
const answers = (command: string, ...args: string[]): boolean => {
  try {
    execFileSync(command, args, { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
/** Of systemd's measure of 0 (nothing can be reached) to 10. */
const exposure = 1.5

describe('deploy/systemd/postern.service', function () {
  this.timeout(30_000)
  const withSystemd = answers('systemd-analyze', '--version')

  it('is a unit that systemd reads without a complaint', async function () {
    if (!withSystemd) return void this.skip()
    const folder = temporaryFolder('unit')
    try {
      // It looks for the program, too.
      writeFileSync(folder.file('postern.service'), text.replace('/usr/bin/node', process.execPath))
      const { stdout, stderr } = await execute('systemd-analyze', ['verify', folder.file('postern.service')])
      assert.equal(stdout + stderr, '')
    } finally {
      folder.remove()
    }
  })

  it(`exposes no more than ${exposure}`, async function () {
    if (!withSystemd) return void this.skip()
    const args = ['security', '--offline=true', `--threshold=${exposure * 10}`, '--no-pager', unit]
    const { stdout } = await execute('systemd-analyze', args)
    const [, level] = /Overall exposure level for postern\.service: ([\d.]+)/.exec(stdout) ?? []
    assert.ok(Number(level) <= exposure, stdout.slice(-200))
  })

  describe('what it starts, confined as it says', () => {
    const confined = path('test/systemd/confined.py')
    const filter = setting('SystemCallFilter').flatMap((value) => {
      const taken = value.startsWith('~')
      return value
        .replace('~', '')
        .split(' ')
        .map((name) => (taken ? `~${name}` : name))
    })
    before(function () {
      if (
        !withSystemd ||
        process.arch !== 'x64' ||
        !answers('python3', '--version') ||
        !existsSync('/usr/include/x86_64-linux-gnu/asm/unistd_64.h')
      )
        this.skip()
    })

    it('serves, as another user and without the system calls that are kept from it', async () => {
      const folder = temporaryFolder('systemd')
      const [admin = 0, issuer = 0] = await freePorts(2)
      // `nobody`, where this test may become another user.
      const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
      const [run, state, credentials] = ['run', 'state', 'credentials'].map((name) => {
        mkdirSync(folder.file(name), { mode: 0o750 })
        return folder.file(name)
      }) as [string, string, string]
      const policy = readFileSync(path('deploy/systemd/postern.yaml'), 'utf8')
        .replace('/run/postern/', `${run}/`)
        .replace('/var/lib/postern/', `${state}/`)
        .replace('/run/credentials/postern.service', credentials)
        .replaceAll('127.0.0.1:9192', `127.0.0.1:${admin}`)
        .replaceAll('127.0.0.1:9193', `127.0.0.1:${issuer}`)
      writeFileSync(folder.file('postern.yaml'), policy)
      writeFileSync(`${credentials}/admin-secret`, '5f8e3c1b9a7d2e4f6c0b8a1d3e5f7c9b2a4d6e8f', { mode: 0o400 })
      if (user.uid !== undefined)
        for (const owned of [run, state, credentials, `${credentials}/admin-secret`, folder.file('postern.yaml')])
          chownSync(owned, user.uid, user.gid)
      chmodSync(folder.path, 0o755)
      // A cache in the home of another user is closed to this one.
      const runs = spawnSync(process.execPath, ['--version'], { ...user, cwd: '/' }).status === 0
      const node = runs ? process.execPath : folder.file('node')
      if (!runs) copyFileSync(process.execPath, node)
      const command = [node, path('src/main.ts'), 'serve', '--config', folder.file('postern.yaml')]
      // systemd gives nothing of its own environment.
      const env = { PATH: process.env['PATH'], RUNTIME_DIRECTORY: run, STATE_DIRECTORY: state, CREDENTIALS_DIRECTORY: credentials }
      const child = spawn('python3', [confined, ...filter, '--', ...command], {
        ...user,
        cwd: state,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      let said = ''
      child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
      child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
      const ended = new Promise<number | null>((done) => child.on('exit', (code) => done(code)))
      try {
        await until('/readyz', async () => {
          assert.equal(child.exitCode, null, said)
          return fetch(`http://127.0.0.1:${admin}/readyz`).then(
            ({ ok }) => ok,
            () => false,
          )
        })
        const { mode, gid } = statSync(`${run}/check.sock`)
        assert.equal(mode & 0o777, 0o660)
        if (user.gid !== undefined) assert.equal(gid, user.gid)
        const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
        assert.match(status, /NoNewPrivs:\t1[\s\S]*Seccomp:\t2/)
        // ExecReload: nothing changed, and it goes on.
        child.kill('SIGHUP')
        assert.equal((await fetch(`http://127.0.0.1:${admin}/readyz`)).status, 200)
        child.kill('SIGTERM')
        assert.equal(await ended, 0, said)
      } finally {
        child.kill('SIGKILL')
        await ended
        folder.remove()
      }
    })

    it('could not be kept from executing what it wrote: Node would not start', async function () {
      const node = [process.execPath, '--eval', 'let s = 0; for (let i = 0; i < 1e7; i++) s += i; console.log(s)']
      const run = () => execute('python3', [confined, 'mdwe', '--', ...node])
      await assert.rejects(run, (error: { stderr: string }) => {
        if (error.stderr.includes('no such thing')) this.skip()
        return /memory|permission|Fatal/i.test(error.stderr)
      })
      assert.deepEqual(setting('MemoryDenyWriteExecute'), [])
    })
  })
})
