import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { ensureAuthlib } from '../../deploy/local/authlib.mjs'
import { which } from '../../deploy/local/command.mjs'
import { secret, startTokenService, type TokenServiceRun } from './service.ts'

const script = fileURLToPath(new URL('clients.py', import.meta.url))

describe('Python’s client libraries, by discovery alone', function () {
  this.timeout(120_000)
  let run: TokenServiceRun
  let python = ''

  before(async function () {
    if (which('python3') === undefined) {
      console.error('      no python3 on PATH: Authlib and requests-oauthlib are not tried')
      return this.skip()
    }
    python = await ensureAuthlib()
    run = await startTokenService()
  })
  after(() => run?.stop())

  for (const library of ['authlib', 'authlib-key', 'requests-oauthlib']) {
    it(library, async () => {
      const subject = await run.users.mint({ sub: 'alice', aud: 'app', roles: ['reader'], scope: 'read:data:1' })
      const asked = { issuer: run.issuer, secret, subject, key: run.signing.pem, kid: run.signing.kid }
      const { stdout } = await promisify(execFile)(python, [script, library, JSON.stringify(asked)], {
        env: { ...process.env, AUTHLIB_INSECURE_TRANSPORT: '1', OAUTHLIB_INSECURE_TRANSPORT: '1', no_proxy: '127.0.0.1' },
        timeout: 60_000,
      })
      const { own, exchanged, revoked } = JSON.parse(stdout)
      assert.deepEqual([own.active, own.iss, own.aud], [true, run.issuer, 'postern'])
      assert.equal(own.client_id, library === 'authlib-key' ? 'signer' : 'backend')
      if (library !== 'authlib-key') {
        assert.deepEqual([exchanged.active, exchanged.sub, exchanged.aud, exchanged.scope], [true, 'alice', 'api', 'read:data:1'])
        assert.deepEqual(exchanged.act, { sub: 'backend' })
      }
      assert.deepEqual(revoked, { active: false })
    })
  }
})
