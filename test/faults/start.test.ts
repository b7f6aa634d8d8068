import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { applicationId } from '../../src/adapters/sqlite-schema.ts'
import { testCertificates } from '../support/certificates.ts'
import { freePort } from '../support/free-port.ts'
import { startPostern } from '../support/postern.ts'
import { startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { secrets } from './edge.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A policy that would start, but for what a case changes. */
const policyWith = (over: { listen?: string; state?: string; rest?: string } = {}): string => `version: 1
listen:
  ${over.listen ?? 'check: { address: "unix:@folder@/check.sock" }'}
state: "${over.state ?? 'memory:'}"
identity:
  - { name: users, type: oidc, issuer: http://127.0.0.1:1/realm, audience: [router], verified_by: envoy, metadata_key: users }
routes:
  - { id: health, path: /healthz, public: true }
${over.rest ?? ''}`

interface Refusal {
  readonly policy: string
  /** Exit code: 2 for what the file says, 1 for what the machine has not. */
  readonly code: 1 | 2
  /** The only line on standard error. */
  readonly says: RegExp
  /** What must be there before. */
  readonly prepare?: (folder: TemporaryFolder) => unknown
}

const check = 'check: { address: "unix:@folder@/check.sock" }'
const withIssuer = `${check}\n  issuer: { address: "127.0.0.1:9193" }`

const refusals: Record<string, Refusal> = {
  'a check listener that others can reach, without mTLS': {
    policy: policyWith({ listen: 'check: { address: "0.0.0.0:9191" }' }),
    code: 2,
    says: /postern\.yaml:3:\d+: .*listen\.check\.address.*whoever reaches it can forge identities: expected unix:\/path, a loopback address, or tls with mode mtls and allow$/,
  },
  'a check listener that others can reach, with TLS alone': {
    policy: policyWith({
      listen: 'check: { address: "[::]:9191", tls: { mode: tls, cert: "@folder@/postern.crt", key: "@folder@/postern.key" } }',
    }),
    prepare: ({ path }) => testCertificates(path).server('postern'),
    code: 2,
    says: /postern\.yaml:3:\d+: .*listen\.check\.address.*expected unix:\/path, a loopback address, or tls with mode mtls and allow$/,
  },
  'a key file that others can read': {
    policy: policyWith({
      listen:
        'check: { address: "0.0.0.0:9191", tls: { mode: mtls, cert: "@folder@/postern.crt", key: "@folder@/postern.key", ca: "@folder@/ca.crt", allow: ["spiffe://cluster.local/ns/edge/sa/envoy"] } }',
    }),
    prepare: ({ path, file }) => {
      testCertificates(path).server('postern')
      chmodSync(file('postern.key'), 0o644)
    },
    code: 2,
    says: /postern\.yaml:3:\d+: .*listen\.check\.tls\.key.*postern\.key" is open to every user \(mode 0644\): expected 0600 or 0400$/,
  },
  'an admin listener that others can reach, without TLS': {
    policy: policyWith({ listen: `${check}\n  admin: { address: "0.0.0.0:9192" }` }),
    code: 2,
    says: /postern\.yaml:4:\d+: .*listen\.admin\.address.*expected a loopback address, or tls with mode tls or mtls$/,
  },
  'a state file in a folder where nothing can be made': {
    policy: policyWith({ state: 'file:/proc/postern.db' }),
    code: 1,
    says: /^state: state file \/proc\/postern\.db cannot be opened for writing \(\w+\): expected a file or folder that this user may write$/,
  },
  'a state file below what is no folder': {
    policy: policyWith({ state: 'file:@folder@/postern.yaml/postern.db' }),
    code: 1,
    says: /cannot be opened for writing \(\w+\): expected a file or folder that this user may write$/,
  },
  'a state file that is a folder': {
    policy: policyWith({ state: 'file:@folder@/state' }),
    prepare: ({ file }) => mkdirSync(file('state')),
    code: 1,
    says: /state cannot be opened for writing \(EISDIR\): expected a file or folder that this user may write$/,
  },
  'a state file that others can read': {
    policy: policyWith({ state: 'file:@folder@/postern.db' }),
    prepare: ({ file }) => {
      writeFileSync(file('postern.db'), '')
      chmodSync(file('postern.db'), 0o640)
    },
    code: 1,
    says: /postern\.db has mode 0640: expected 0600, for it holds signing keys \(chmod 600 it\)$/,
  },
  'a damaged state file': {
    policy: policyWith({ state: 'file:@folder@/postern.db' }),
    prepare: ({ file }) => writeFileSync(file('postern.db'), 'not a database, '.repeat(1000), { mode: 0o600 }),
    code: 1,
    says: /postern\.db is damaged or no SQLite database: restore it from a backup, or move it away to begin anew$/,
  },
  'the database of another program': {
    policy: policyWith({ state: 'file:@folder@/postern.db' }),
    prepare: ({ file }) => database(file('postern.db'), 'CREATE TABLE theirs (a TEXT)'),
    code: 1,
    says: /postern\.db is a database of something else: name a file of our own$/,
  },
  'a state file of a newer version': {
    policy: policyWith({ state: 'file:@folder@/postern.db' }),
    prepare: ({ file }) => database(file('postern.db'), 'PRAGMA user_version = 999'),
    code: 1,
    says: /postern\.db has schema version 999, and this program knows \d+: run the newer program that wrote it$/,
  },
  'a check socket in a folder that is not there': {
    policy: policyWith({ listen: 'check: { address: "unix:@folder@/none/check.sock" }' }),
    code: 1,
    says: /^unix:.*\/none\/check\.sock: the folder of the socket does not exist; make it, writable by this user$/,
  },
  'a check socket where a file lies': {
    policy: policyWith(),
    prepare: ({ file }) => writeFileSync(file('check.sock'), 'precious'),
    code: 1,
    says: /check\.sock: there is a file that is no socket; remove it, or choose another path$/,
  },
  'a secret that is not in the environment': {
    policy: policyWith({ rest: `admin: { secret: "\${env:POSTERN_TEST_NOT_SET}" }\n` }),
    code: 2,
    says: /postern\.yaml:9:\d+: .*admin\.secret.*POSTERN_TEST_NOT_SET/,
  },
  'a secret file that is not there': {
    policy: policyWith({ rest: `admin: { secret: "\${file:@folder@/none}" }\n` }),
    code: 2,
    says: /postern\.yaml:9:\d+: .*admin\.secret.*\/none/,
  },
  'a secret file that others can read': {
    policy: policyWith({ rest: `admin: { secret: "\${file:@folder@/secret}" }\n` }),
    prepare: ({ file }) => {
      writeFileSync(file('secret'), 'a secret that nobody guesses, of 40 letters')
      chmodSync(file('secret'), 0o644)
    },
    code: 2,
    says: /postern\.yaml:9:\d+: .*admin\.secret.*secret" is open to every user \(mode 0644\): expected 0600 or 0400$/,
  },
  'an admin secret that is too short': {
    policy: policyWith({ rest: 'admin: { secret: only-31-characters-are-too-few- }\n' }),
    code: 2,
    says: /postern\.yaml:9:\d+: .*admin\.secret.*the admin secret is too short: expected at least 32 characters$/,
  },
  'keys in Redis without an encryption key': {
    policy: policyWith({ listen: withIssuer, state: 'redis://127.0.0.1:1/0' }),
    code: 2,
    says: /issuer\.keys\.encryption_key.*"encryption_key" is missing: signing keys lie in Redis, so expected 32 bytes as base64 or hex to encrypt them with$/,
  },
  'no file at all': { policy: '', code: 2, says: /postern\.yaml/ },
}

function database(path: string, sql: string): void {
  const made = new DatabaseSync(path)
  made.exec(`CREATE TABLE one (a TEXT); ${sql}; PRAGMA application_id = ${sql.includes('user_version') ? applicationId : 0}`)
  made.close()
  chmodSync(path, 0o600)
}
/** Runs `postern serve` to its end. */
async function end(
  policy: string,
  folder: TemporaryFolder,
): Promise<{ code: number | null; out: readonly string[]; err: readonly string[] }> {
  const config = folder.file('postern.yaml')
  if (policy !== '') writeFileSync(config, policy.replaceAll('@folder@', folder.path), { mode: 0o600 })
  const program = startProgram(process.execPath, [main, 'serve', '--config', config], { env: secrets, cwd: folder.path })
  const timer = setTimeout(() => program.signal('SIGKILL'), 10_000)
  const { code } = await program.ended
  clearTimeout(timer)
  return { code, out: program.stdout, err: program.stderr }
}

describe('a start that is refused', function () {
  this.timeout(20_000)
  let folder: TemporaryFolder
  beforeEach(() => {
    folder = temporaryFolder()
  })
  afterEach(() => {
    chmodSync(folder.path, 0o700)
    folder.remove()
  })

  it('is none where nothing is wrong: the cases below are refused for what they say', async () => {
    const postern = await startPostern(policyWith().replaceAll('@folder@', folder.path))
    assert.equal(await postern.stop(), 0)
  })

  for (const [name, { policy, code, says, prepare }] of Object.entries(refusals)) {
    it(name, async () => {
      prepare?.(folder)
      const ended = await end(policy, folder)
      assert.deepEqual([ended.code, ended.err.length], [code, 1], ended.err.join('\n'))
      assert.match(ended.err[0]!, says)
      assert.equal(
        ended.out.some((line) => line.includes('"serving"')),
        false,
      )
    })
  }

  // Nothing is unwritable to root by its mode.
  if (process.getuid?.() !== 0) {
    it('a state folder that this user may not write', async () => {
      mkdirSync(folder.file('state'), { mode: 0o500 })
      const ended = await end(policyWith({ state: 'file:@folder@/state/postern.db' }), folder)
      assert.equal(ended.code, 1)
      assert.match(ended.err.join('\n'), /cannot be opened for writing \(EACCES\)/)
    })
  }

  it('a port in use', async () => {
    const taken = createServer()
    await new Promise<void>((done) => taken.listen(0, '127.0.0.1', done))
    const { port } = taken.address() as { port: number }
    try {
      for (const name of ['check', 'admin']) {
        const other = name === 'check' ? '' : `${check}\n  `
        const ended = await end(policyWith({ listen: `${other}${name}: { address: "127.0.0.1:${port}" }` }), folder)
        assert.deepEqual([ended.code, ended.err], [1, [`127.0.0.1:${port}: another process listens there`]])
      }
    } finally {
      taken.close()
    }
  })

  it('a socket in use by a live process; one left behind by a dead one is replaced', async () => {
    const policy = policyWith().replaceAll('@folder@', folder.path)
    const first = await startPostern(policy)
    try {
      const ended = await end(policy, folder)
      assert.deepEqual([ended.code, ended.err], [1, [`unix:${folder.path}/check.sock: another process listens there`]])
    } finally {
      await first.kill()
    }
    const next = await startPostern(policy)
    assert.equal(await next.stop(), 0)
  })

  it('a policy broken in ten ways: ten lines, each with its place', async () => {
    const text = readFileSync(fileURLToPath(new URL('../config/fixtures/faults/ten-ways.yaml', import.meta.url)), 'utf8')
    const expected = [...text.matchAll(/^#! (\d+:\d+) (\S+) \| (.+)$/gm)]
    assert.equal(expected.length, 10)
    const { code, err } = await end(text, folder)
    assert.deepEqual([code, err.length], [2, 10], err.join('\n'))
    for (const [i, [, at, setting, message]] of expected.entries()) {
      assert.ok(err[i]!.includes(`postern.yaml:${at}: `), err[i]!)
      assert.ok(err[i]!.includes(setting!) && err[i]!.endsWith(message!), err[i]!)
    }
  })

  it('SIGTERM during the start ends it with 0, or by the signal', async () => {
    const config = folder.file('postern.yaml')
    writeFileSync(config, policyWith().replaceAll('@folder@', folder.path), { mode: 0o600 })
    const program = startProgram(process.execPath, [main, 'serve', '--config', config], { env: secrets })
    await sleep(150)
    program.signal('SIGTERM')
    const { code, signal } = await program.ended
    assert.ok(code === 0 || signal === 'SIGTERM', `${code} ${signal}`)
  })

  it('a listener whose port is free again starts', async () => {
    const port = await freePort()
    const postern = await startPostern(
      policyWith({ listen: `${check}\n  admin: { address: "127.0.0.1:${port}" }` }).replaceAll('@folder@', folder.path),
    )
    assert.equal((await fetch(`http://127.0.0.1:${port}/livez`)).status, 200)
    assert.equal(await postern.stop(), 0)
  })
})
