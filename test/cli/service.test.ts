import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { openSqliteState } from '../../src/adapters/sqlite-state.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { cli } from './captured.ts'
import { startInitialized } from './initialized.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** A command in a process of its own. */
function child(...argv: string[]): Promise<{ code: number | null; err: string }> {
  return new Promise((resolve) => {
    const started = spawn(process.execPath, [main, ...argv], { stdio: ['ignore', 'ignore', 'pipe'] })
    let err = ''
    started.stderr.on('data', (part: Buffer) => {
      err += part
    })
    started.on('close', (code) => resolve({ code, err }))
  })
}

describe('postern, with a running service', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  let service: RunningPostern
  let at: readonly string[]
  let stop: () => Promise<void>

  before(async () => {
    ;({ folder, service, at, stop } = await startInitialized())
  })
  after(() => stop())

  it('shows the status', async () => {
    const { code, out, err } = await cli(['status', ...at])
    assert.equal(code, 0, err)
    assert.match(out, /^ready +yes$/m)
    assert.match(out, /^state +file, up$/m)
    const json = JSON.parse((await cli(['status', '--json', ...at])).out) as { ready: boolean; keys: object[] }
    assert.deepEqual([json.ready, json.keys.length], [true, 1])
  })

  it('sets, gets and removes owners, the resource in one word or two', async () => {
    assert.equal((await cli(['owner', 'set', 'sandbox', 's1', 'alice', ...at])).code, 0)
    assert.match((await cli(['owner', 'get', 'sandbox:s1', ...at])).out, /^owner +alice$/m)
    assert.equal((await cli(['owner', 'set', 'sandbox:s1', 'auth0|bob', ...at])).code, 0)
    const json = JSON.parse((await cli(['owner', 'get', 'sandbox', 's1', '--json', ...at])).out) as { owner: string }
    assert.equal(json.owner, 'auth0|bob')
    assert.equal((await cli(['owner', 'rm', 'sandbox', 's1', ...at])).out, 'removed sandbox:s1\n')
    const gone = await cli(['owner', 'get', 'sandbox', 's1', ...at])
    assert.equal(gone.code, 1)
    assert.match(gone.err, /404 unknown_resource/)
    assert.equal((await cli(['owner', 'get', 'sandbox', ...at])).code, 2)
  })

  it('mints a token that the issuer’s keys verify, and looks into it', async () => {
    const minted = await cli(['token', 'mint', '--subject', 'alice', '--role', 'sandbox:invoke', '--ttl', '2m', ...at])
    assert.equal(minted.code, 0, minted.err)
    const settings = /issuer: \{ address: (\S+) \}/.exec(readFileSync(service.config, 'utf8'))
    const jwks = folder.file('jwks.json')
    writeFileSync(jwks, await (await fetch(`http://${settings?.[1]}/jwks.json`)).text())
    const seen = await cli(['token', 'inspect', '-', '--jwks', jwks], {}, minted.out)
    assert.equal(seen.code, 0, seen.out)
    assert.match(seen.out, /^signature +valid \(kid /m)
    assert.match(seen.out, /^exp +\S+ \(in (?:2m|1m \d+s)\)$/m)
    const [head, body] = minted.out.trim().split('.')
    const forged = await cli(['token', 'inspect', `${head}.${body}.${'A'.repeat(86)}`, '--jwks', jwks])
    assert.deepEqual([forged.code, /NOT valid/.test(forged.out)], [1, true])
    assert.equal((await cli(['token', 'inspect', 'nonsense'])).code, 1)
  })

  it('lists and rotates keys, and revokes', async () => {
    assert.match((await cli(['key', 'list', ...at])).out, /ES256 +signing/)
    assert.match((await cli(['key', 'rotate', ...at])).out, /ES256 +published/)
    assert.equal((await cli(['revoke', 'subject', 'mallory', ...at])).out, 'revoked subject mallory\n')
    assert.equal(
      (await cli(['revoke', '--level', 'agent', '--target', 'spiffe://x/agent/o/t/1', ...at])).out,
      'revoked agent spiffe://x/agent/o/t/1\n',
    )
    assert.equal((await cli(['revoke', '--level', 'task', 't-1', ...at])).out, 'revoked task t-1\n')
    const json = await cli(['revoke', 'client', '--target', 'c-1', '--json', ...at])
    assert.deepEqual(JSON.parse(json.out), { revoked: true, level: 'client', target: 'c-1' })
    assert.equal((await cli(['revoke', 'subject', 'mallory', '--lift', ...at])).out, 'lifted subject mallory\n')
    const { code, err } = await cli(['revoke', 'subject', 'nobody', '--lift', ...at])
    assert.equal(code, 1)
    assert.match(err, /404 not_revoked/)
    for (const words of [
      [],
      ['agent'],
      ['--level', 'agent'],
      ['--target', 'x'],
      ['agent', 'x', '--level', 'task'],
      ['agent', 'x', '--target', 'y'],
    ])
      assert.equal((await cli(['revoke', ...words, ...at])).code, 2, words.join(' '))
  })

  it('refuses a level of revocation that there is none', async () => {
    assert.equal((await cli(['revoke', 'everything', 'x', ...at])).code, 2)
  })

  it('records in the audit trail which policy came in force, and that one was refused', async () => {
    const good = readFileSync(service.config, 'utf8')
    const reloads = async (): Promise<string[]> => {
      const state = await openSqliteState({ path: folder.file('postern.db'), realm: 'default' })
      const events = await state.audit.tail(1000)
      await state.close()
      return events.filter(({ type }) => type === 'policy_reloaded').map(({ outcome }) => outcome)
    }
    service.rewrite(`${good}rotes: []\n`)
    await until('the refusal', async () => (await reloads()).join() === 'failure')
    service.rewrite(`${good}# changed\n`)
    await until('the reload', async () => (await reloads()).join() === 'failure,success')
    service.rewrite(good)
    await until('the old policy', async () => (await reloads()).length === 3)
    // Each names the revision that was in force after it.
    const state = await openSqliteState({ path: folder.file('postern.db'), realm: 'default' })
    const targets = (await state.audit.tail(1000)).filter(({ type }) => type === 'policy_reloaded').map(({ target }) => target)
    await state.close()
    const { revision } = JSON.parse((await cli(['status', '--json', ...at])).out) as { revision: string }
    assert.deepEqual([targets[0], targets[2]], [revision, revision])
    assert.notEqual(targets[1], revision)
  })

  it('starts with an issuer that cannot be reached, and says so in the log, in status and where it listens', async () => {
    const other = temporaryFolder()
    assert.equal((await cli(['init', '--dir', other.path])).code, 0)
    const [admin, issuer, nobody] = [await freePort(), await freePort(), await freePort()]
    const users = `  - { name: users, type: oidc, issuer: "http://127.0.0.1:${nobody}/x", audience: a, subject_namespace: "u:", may_assert: [] }`
    const policy = readFileSync(other.file('postern.yaml'), 'utf8')
      .replace(':9192', `:${admin}`)
      .replace(':9193', `:${issuer}`)
      .replace('identity:\n', `identity:\n${users}\n`)
    const started = await startPostern(policy, { folder: other })
    const serving = await started.log('serving', ({ msg }) => msg === 'serving')
    assert.deepEqual([serving['admin'], serving['issuer']], [`127.0.0.1:${admin}`, `127.0.0.1:${issuer}`])
    await started.log('the issuer', ({ level, reason }) => level === 'error' && reason === 'DiscoveryFailed')
    const { out } = await cli(['status', '--config', started.config])
    assert.match(out, /^JWKSReady +http:\S+ +False +\S+Z +DiscoveryFailed/m)
    await fetch(`http://127.0.0.1:${issuer}/jwks.json`)
    assert.match(await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text(), /duration_seconds_count\{endpoint="GET \/jwks.json"\} 1/)
    assert.equal(await started.stop(), 0)
    other.remove()
  })

  it('refuses an admin token that was revoked', async () => {
    const address = /admin: \{ address: "?([^" }]+)/.exec(readFileSync(service.config, 'utf8'))?.[1]
    const secret = readFileSync(folder.file('admin.secret'), 'utf8').trim()
    const post = (path: string, body: object, token?: string): Promise<Response> =>
      fetch(`http://${address}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
        body: JSON.stringify(body),
      })
    const { access_token: token } = (await (await post('/v1/admin/auth', { secret })).json()) as { access_token: string }
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { jti: string }
    const ask = async (): Promise<number> =>
      (await fetch(`http://${address}/status`, { headers: { authorization: `Bearer ${token}` } })).status
    assert.equal(await ask(), 200)
    assert.equal((await post('/v1/revoke', { level: 'token', target: jti }, token)).status, 200)
    assert.equal(await ask(), 401)
  })

  it('says what is wrong with the secret or the address, and never the secret', async () => {
    const wrong = await cli(['status', ...at], { POSTERN_ADMIN_SECRET: 'wrong-secret' })
    assert.equal(wrong.code, 1)
    assert.match(wrong.err, /401 wrong_secret/)
    assert.equal(wrong.err.includes('wrong-secret'), false)
    const nobody = await cli(['status', '--admin', `http://127.0.0.1:${await freePort()}`, ...at])
    assert.match(nobody.err, /cannot be reached: nothing listens there/)
    const socket = await cli(['status', '--admin', `unix:${folder.file('none.sock')}`, ...at])
    assert.match(socket.err, /there is no such socket/)
    assert.equal((await cli(['status', '--admin', 'ftp://x', ...at])).code, 2)
    assert.equal((await cli(['status', '--cert', service.config, ...at])).code, 2)
    const plain = /admin: \{ address: "?([^" }]+)/.exec(readFileSync(service.config, 'utf8'))?.[1]
    const secret = { POSTERN_ADMIN_SECRET: 'a secret that nobody guesses, of 40 letters' }
    assert.match((await cli(['status', '--admin', `https://${plain}`], secret)).err, /does not speak TLS/)
  })

  it('drains and ends with 0 when one signal arrives twice, as from a runner that passes it on', async () => {
    const other = temporaryFolder()
    assert.equal((await cli(['init', '--dir', other.path])).code, 0)
    const policy = readFileSync(other.file('postern.yaml'), 'utf8')
    const twice = await startPostern(policy.replace(':9192', `:${await freePort()}`).replace(':9193', `:${await freePort()}`), {
      folder: other,
    })
    twice.program.signal('SIGTERM')
    twice.program.signal('SIGINT')
    assert.equal((await twice.program.ended).code, 0)
    assert.ok(twice.logs().some(({ msg }) => msg === 'closed'))
    other.remove()
  })

  it('refuses to serve a broken policy with 2, and what it cannot open with 1', async () => {
    const broken = folder.file('broken.yaml')
    writeFileSync(broken, 'version: 7\n')
    const policy = await child('serve', '--config', broken)
    assert.equal(policy.code, 2, policy.err)
    assert.match(policy.err, /broken\.yaml:1:\d+: version/)
    const taken = await child('serve', '--config', service.config)
    assert.equal(taken.code, 1, taken.err)
    assert.match(taken.err, /in use|taken|listen/)
    assert.equal(/\n {4}at /.test(taken.err), false)
  })
})
