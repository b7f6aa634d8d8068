import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { makeApiKey } from '../../src/core/api-key.ts'
import { adminScopes } from '../../src/core/issuer.ts'
import { revocationLevels, Unavailable } from '../../src/core/ports.ts'
import { type Answer, adminSecret, type Fixture, openFixture as open, sparingly } from './fixture.ts'

const refused = (answer: Answer, status: number, reason: string): void => {
  assert.equal(answer.status, status, answer.text)
  assert.equal(answer.headers['content-type'], 'application/problem+json')
  assert.equal(answer.json['reason'], reason)
  assert.equal(answer.json['status'], status)
}

describe('admin listener', () => {
  let at: Fixture
  let token: string
  before(async () => {
    at = await open()
    token = await at.login()
  })
  const openFixture = sparingly()
  after(() => at.close())

  describe('what is open', () => {
    it('answers livez, readyz and metrics without a token', async () => {
      assert.equal((await at.ask('/livez')).status, 200)
      assert.deepEqual((await at.ask('/readyz')).json, { status: 'ready', reasons: [] })
      const metrics = await at.ask('/metrics')
      assert.match(String(metrics.headers['content-type']), /^text\/plain; version=0\.0\.4/)
      assert.match(metrics.text, /^postern_build_info\{version="test"\} 1$/m)
    })

    it('counts requests by template, never by path', async () => {
      await at.ask('/v1/resources/sandbox/some-id/labels', { token })
      await at.ask('/made/up/by/a/scanner')
      const { text } = await at.ask('/metrics')
      const counted = text
        .split('\n')
        .filter((line) => line.startsWith('postern_request_duration_seconds_count'))
        .join('\n')
      assert.match(counted, /\{endpoint="GET \/v1\/resources\/:resource\/:id\/labels"\} \d/)
      assert.match(counted, /\{endpoint="GET \/livez"\} \d/)
      assert.ok(!/some-id|scanner/.test(text))
    })

    it('is not ready while it says so, with the reason', async () => {
      const other = await openFixture(() => ({ readiness: () => ({ ready: false, reasons: ['the service is draining'] }) }))
      const answer = await other.ask('/readyz')
      assert.equal(answer.status, 503)
      assert.deepEqual(answer.json, { status: 'not_ready', reasons: ['the service is draining'] })
    })
  })

  it('puts the guarding headers on every answer', async () => {
    for (const path of ['/livez', '/status', '/nothing', '/metrics']) {
      const { headers } = await at.ask(path)
      assert.equal(headers['x-content-type-options'], 'nosniff', path)
      assert.equal(headers['cache-control'], 'no-store', path)
      assert.equal(headers['x-frame-options'], 'DENY', path)
      assert.equal(headers['strict-transport-security'], undefined)
    }
    const tls = await at.fetch(new Request('https://127.0.0.1/livez', { headers: { host: '127.0.0.1' } }), {
      peer: undefined,
      secure: true,
      remoteAddress: '',
    })
    assert.match(String(tls.headers.get('strict-transport-security')), /max-age=\d+/)
  })

  describe('Host and Origin', () => {
    it('takes its own names with any port, and no other', async () => {
      for (const host of ['127.0.0.1', `127.0.0.1:${at.port}`, 'localhost', 'LOCALHOST:80', 'localhost.', '[::1]:9192']) {
        assert.equal((await at.ask('/livez', { headers: { host } })).status, 200, host)
      }
      for (const host of ['evil.example', '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1', 'a_b']) {
        refused(await at.ask('/livez', { headers: { host } }), 421, 'unknown_host')
      }
      for (const host of ['user@localhost', 'a b']) assert.ok((await at.ask('/livez', { headers: { host } })).status >= 400, host)
    })

    it('refuses pages of other sites', async () => {
      for (const origin of ['https://evil.example', 'null', 'http://localhost:1', 'https://127.0.0.1']) {
        refused(await at.ask('/livez', { headers: { origin, host: '127.0.0.1' } }), 403, 'foreign_origin')
      }
      assert.equal((await at.ask('/livez', { headers: { origin: 'http://127.0.0.1', host: '127.0.0.1' } })).status, 200)
    })
  })

  describe('authentication', () => {
    it('turns the secret into a token with the scopes of an admin for 300 s', async () => {
      const answer = await at.ask('/v1/admin/auth', { method: 'POST', body: { secret: adminSecret } })
      assert.equal(answer.status, 200)
      assert.equal(answer.json['token_type'], 'Bearer')
      assert.equal(answer.json['expires_in'], 300)
      const claims = decodeJwt(String(answer.json['access_token']))
      assert.equal(claims.aud, 'postern-admin')
      assert.equal(claims['scope'], adminScopes.join(' '))
      const events = await at.state.audit.tail(1)
      assert.deepEqual([events[0]?.type, events[0]?.outcome, events[0]?.target], ['admin_login', 'success', claims.jti])
    })

    it('refuses a wrong secret, a broken body, and records it', async () => {
      const other = await openFixture()
      refused(await other.ask('/v1/admin/auth', { method: 'POST', body: { secret: `${adminSecret}x` } }), 401, 'wrong_secret')
      refused(await other.ask('/v1/admin/auth', { method: 'POST', body: 'not json' }), 400, 'not_json')
      refused(await other.ask('/v1/admin/auth', { method: 'POST', body: {} }), 400, 'bad_body')
      refused(await other.ask('/v1/admin/auth', { method: 'POST', body: { secret: 1 } }), 400, 'bad_body')
      refused(
        await other.ask('/v1/admin/auth', { method: 'POST', body: `"${adminSecret}"`, headers: { 'content-type': 'text/plain' } }),
        415,
        'not_json',
      )
      const events = await other.state.audit.tail(10)
      assert.deepEqual(
        events.map(({ outcome }) => outcome),
        ['failure'],
      )
      assert.equal(JSON.stringify(events).includes(adminSecret), false)
      assert.match((await other.ask('/metrics')).text, /postern_admin_auth_total\{status="denied"\} 1/)
    })

    it('limits attempts to a burst of 10', async () => {
      const other = await openFixture()
      const statuses: number[] = []
      let last: Answer | undefined
      for (let i = 0; i < 14; i++) {
        last = await other.ask('/v1/admin/auth', { method: 'POST', body: { secret: 'wrong' } })
        statuses.push(last.status)
      }
      assert.deepEqual(
        statuses.slice(0, 10),
        Array.from({ length: 10 }, () => 401),
      )
      assert.ok(statuses.includes(429))
      refused(last!, 429, 'too_many_attempts')
      assert.equal(last?.headers['retry-after'], '1')
    })

    it('refuses what is no admin token, with a challenge', async () => {
      const answer = await at.ask('/status')
      refused(answer, 401, 'no_token')
      assert.equal(answer.headers['www-authenticate'], 'Bearer realm="postern-admin"')
      const edge = await at.options.issuer!.mintEdge({
        audience: 'postern-admin',
        subject: 'admin',
        roles: [],
        scopes: [],
        ttl: 60,
        now: Date.now(),
      })
      const stale = await at.options.issuer!.mintAdmin('admin', Date.now() - 400_000)
      const forged = `${token.slice(0, -6)}AAAAAA`
      for (const bad of ['x', edge.token, stale.token, forged, `${token}.`])
        refused(await at.ask('/status', { token: bad }), 401, 'invalid_token')
      refused(await at.ask('/status', { headers: { authorization: `Basic ${token}` } }), 401, 'invalid_token')
      assert.equal((await at.ask('/status', { token })).status, 200)
    })

    it('is off where nothing is configured, and says so', async () => {
      for (const change of [{ secret: () => undefined }, { issuer: undefined }]) {
        const off = await openFixture(() => change)
        refused(await off.ask('/status'), 403, 'admin_off')
        refused(await off.ask('/v1/admin/auth', { method: 'POST', body: { secret: adminSecret } }), 403, 'admin_off')
        assert.equal((await off.ask('/livez')).status, 200)
      }
    })

    it('lets an allow-listed workload use the owner API and see the status, and no more', async () => {
      const workload = 'spiffe://cluster.local/ns/agents/sa/workloadmanager'
      const other = await openFixture(() => ({ workloads: () => new Set([workload]), secret: () => undefined }))
      const by = async (peer: string | undefined, method: string, path: string, body?: object): Promise<number> => {
        const init = {
          method,
          headers: { host: '127.0.0.1', 'content-type': 'application/json' },
          ...(body ? { body: JSON.stringify(body) } : {}),
        }
        return (await other.fetch(new Request(`https://127.0.0.1${path}`, init), { peer, secure: true, remoteAddress: '' })).status
      }
      assert.equal(await by(workload, 'PUT', '/v1/resources/sandbox/s1/labels', { owner: 'alice' }), 200)
      assert.equal((await other.state.audit.tail(1))[0]?.actor, workload)
      assert.equal(await by(workload, 'GET', '/status'), 200)
      assert.equal(await by(workload, 'POST', '/v1/revoke', { level: 'token', target: 'x' }), 403)
      assert.equal(await by(workload, 'GET', '/v1/admin/keys'), 403)
      assert.equal(await by(workload, 'POST', '/v1/admin/tokens', { subject: 'x' }), 403)
      assert.equal(await by('spiffe://cluster.local/ns/agents/sa/other', 'GET', '/status'), 401)
      assert.equal(await by(undefined, 'GET', '/status'), 401)
    })

    it('gives each scope its calls and no more; keys and tokens need all', async () => {
      const only = (scope: string) =>
        openFixture((plain) => ({ issuer: { ...plain.issuer!, verifyAdmin: () => ({ subject: 'part', scopes: [scope], tokenId: 't' }) } }))
      const calls: [method: string, path: string, body: object | undefined][] = [
        ['PUT', '/v1/resources/sandbox/s1/labels', { owner: 'alice' }],
        ['POST', '/v1/revoke', { level: 'token', target: 'jti' }],
        ['GET', '/v1/admin/keys', undefined],
        ['POST', '/v1/admin/keys/rotate', {}],
        ['POST', '/v1/admin/tokens', { subject: 'x' }],
        ['GET', '/status', undefined],
      ]
      const expected: Record<string, number[]> = {
        'admin:owners:*': [200, 403, 403, 403, 403, 200],
        'admin:revoke:*': [403, 200, 403, 403, 403, 200],
        'admin:audit:*': [403, 403, 403, 403, 403, 200],
        'admin:owners': [403, 403, 403, 403, 403, 200],
        'owners:*': [403, 403, 403, 403, 403, 200],
        'admin:*': [200, 200, 200, 200, 201, 200],
      }
      for (const [scope, statuses] of Object.entries(expected)) {
        const other = await only(scope)
        const got: number[] = []
        for (const [method, path, body] of calls) {
          got.push((await other.ask(path, { method, token: 'any', ...(body ? { body } : {}) })).status)
        }
        assert.deepEqual(got, statuses, scope)
      }
    })
  })

  describe('revocation', () => {
    it('appends every level, and records it', async () => {
      for (const level of revocationLevels) {
        const answer = await at.ask('/v1/revoke', { method: 'POST', token, body: { level, target: `${level}-1` } })
        assert.deepEqual([answer.status, answer.json], [200, { revoked: true, level, target: `${level}-1` }])
        const entry = (await at.state.revocations.list()).entries.find(({ target }) => target === `${level}-1`)
        assert.ok(entry && entry.level === level && Math.abs(entry.at - Date.now() / 1000) < 5 && entry.until > entry.at + 86_400)
        const [event] = await at.state.audit.tail(1)
        assert.deepEqual([event?.type, event?.target, event?.detail], ['token_revoked', `${level}-1`, { level }])
      }
      const { text } = await at.ask('/metrics')
      for (const level of [...revocationLevels, 'key'])
        assert.match(text, new RegExp(`postern_tokens_revoked_total\\{level="${level}"\\} ${level === 'key' ? 0 : 1}`))
    })

    const revoke = (body: object, lift = '') => at.ask(`/v1/revoke${lift}`, { method: 'POST', token, body })
    const lift = (body: object) => revoke(body, '/lift')

    it('refuses other levels, credentials as targets, and targets that state could not keep', async () => {
      refused(await revoke({ level: 'all', target: 'x' }), 400, 'bad_body')
      refused(await revoke({ level: 'token' }), 400, 'bad_body')
      refused(await revoke({ level: 'token', target: '' }), 400, 'bad_body')
      refused(await revoke({ level: 'token', target: 'x'.repeat(2049) }), 400, 'bad_body')
      refused(await revoke({ level: 'subject', target: 'a\ud800' }), 400, 'bad_body')
      for (const level of revocationLevels) {
        refused(await revoke({ level, target: token }), 400, 'token_as_target')
        refused(await revoke({ level, target: makeApiKey() }), 400, 'key_as_target')
      }
      assert.equal(JSON.stringify((await at.state.revocations.list()).entries).includes('eyJ'), false)
    })

    it('keeps the entry of a token to its end and twice the skew, where it is told, and not less', async () => {
      const now = Math.floor(Date.now() / 1000)
      const untilOf = async (target: string) => (await at.state.revocations.list()).entries.find((entry) => entry.target === target)?.until
      assert.equal((await revoke({ level: 'token', target: 'ends', expires_at: now + 300.5 })).status, 200)
      assert.equal(await untilOf('ends'), now + 301 + 2 * 60)
      assert.equal((await revoke({ level: 'token', target: 'ended', expires_at: 5 })).status, 200)
      assert.ok(((await untilOf('ended')) ?? 0) >= now + 60)
      for (const expires_at of [-1, 5_000_000_000, '2030', null])
        refused(await revoke({ level: 'token', target: 'x', expires_at }), 400, 'bad_body')
      for (const level of ['subject', 'key']) refused(await revoke({ level, target: 'x', expires_at: now + 300 }), 400, 'bad_body')
    })

    it('lifts what was revoked, once, and records it; it can be revoked again', async () => {
      const body = { level: 'subject', target: 'key:lifted' }
      refused(await lift(body), 404, 'not_revoked')
      await revoke(body)
      const begun = Date.now()
      const both = await Promise.all([lift(body), lift(body)])
      assert.deepEqual(
        both.map(({ status, json }) => [status, json]),
        [200, 200].map((status) => [status, { lifted: true, ...body }]),
      )
      assert.ok(Date.now() - begun < 3000)
      assert.deepEqual((await lift(body)).json, { lifted: true, ...body })
      const known = await at.options.revocations.known('subject', body.target)
      assert.equal(known?.lifted, true)
      const [event] = await at.state.audit.tail(1)
      assert.deepEqual([event?.target, event?.detail], [body.target, { level: 'subject', lifted: true }])
      await revoke(body)
      assert.equal((await at.options.revocations.known('subject', body.target))?.lifted, false)
    })

    it('lets a revocation win that comes while another is being lifted', async () => {
      const body = { level: 'agent', target: 'spiffe://agents.local/agent/o/t/1' }
      await revoke(body)
      const lifting = lift(body)
      await sleep(1100)
      await revoke(body)
      refused(await lifting, 409, 'revoked_meanwhile')
      assert.equal((await at.options.revocations.known('agent', body.target))?.lifted, false)
    })

    it('lifts no token and no key, and nothing that was revoked at an instant to come', async () => {
      await revoke({ level: 'token', target: 'jti-lift' })
      refused(await lift({ level: 'token', target: 'jti-lift' }), 400, 'not_liftable')
      refused(await lift({ level: 'key', target: 'x' }), 400, 'not_liftable')
      refused(await lift({ level: 'subject', target: token }), 400, 'token_as_target')
      refused(await lift({ level: 'subject', target: 'x', expires_at: 1 }), 400, 'bad_body')
      const ahead = Math.floor(Date.now() / 1000) + 60
      await at.options.revocations.append({ level: 'task', target: 'ahead', at: ahead, until: ahead + 600 })
      refused(await lift({ level: 'task', target: 'ahead' }), 409, 'revoked_ahead')
    })
  })

  describe('keys and tokens', () => {
    it('lists and rotates keys; nothing secret shows', async () => {
      const other = await openFixture()
      const own = await other.login()
      const before = await other.ask('/v1/admin/keys', { token: own })
      assert.equal((before.json['keys'] as object[]).length, 1)
      const rotated = await other.ask('/v1/admin/keys/rotate', { method: 'POST', token: own })
      assert.equal(rotated.status, 200, rotated.text)
      const keys = rotated.json['keys'] as { kid: string; state: string }[]
      assert.deepEqual(keys.map(({ state }) => state).sort(), ['published', 'signing'])
      assert.ok(keys.some(({ kid, state }) => kid === rotated.json['kid'] && state === 'published'))
      const now = await other.ask('/v1/admin/keys/rotate', { method: 'POST', token: own, body: { now: true } })
      assert.equal(
        (now.json['keys'] as { kid: string; state: string }[]).find(({ state }) => state === 'signing')?.kid,
        rotated.json['kid'],
      )
      assert.equal(/PRIVATE|"d"/.test(before.text + rotated.text), false)
      assert.equal((await other.state.audit.tail(1))[0]?.type, 'key_rotated')
    })

    it('mints an edge token that is in the audit trail, without the token itself', async () => {
      const body = { subject: 'ci', roles: ['sandbox:invoke'], scope: ['invoke:sandbox:*'], ttl: 120 }
      const answer = await at.ask('/v1/admin/tokens', { method: 'POST', token, body })
      assert.equal(answer.status, 201, answer.text)
      const minted = String(answer.json['access_token'])
      assert.equal(decodeProtectedHeader(minted).typ, 'at+jwt')
      assert.deepEqual([decodeJwt(minted).sub, decodeJwt(minted).aud, answer.json['expires_in']], ['ci', 'postern', 120])
      const [event] = await at.state.audit.tail(1)
      assert.deepEqual([event?.type, event?.target, event?.actor], ['token_issued', decodeJwt(minted).jti, 'admin'])
      assert.equal(JSON.stringify(event).includes(minted), false)
      assert.match((await at.ask('/metrics')).text, /postern_tokens_issued_total\{scope="invoke:sandbox"\} 1/)
    })

    it('refuses audiences and lifetimes that it may not give', async () => {
      const mint = (body: object) => at.ask('/v1/admin/tokens', { method: 'POST', token, body })
      refused(await mint({ subject: 'ci', audience: 'postern-admin' }), 400, 'bad_audience')
      for (const body of [
        {},
        { subject: '' },
        { subject: 'x', ttl: 0 },
        { subject: 'x', ttl: 86_401 },
        { subject: 'x', scope: ['a b'] },
        { subject: 'x', more: 1 },
      ]) {
        refused(await mint(body), 400, 'bad_body')
      }
    })

    it('hands out nothing that could not be recorded', async () => {
      const down = await openFixture((_, state) => ({ audit: { ...state.audit, commit: () => Promise.reject(new Unavailable('down')) } }))
      refused(await down.ask('/v1/admin/auth', { method: 'POST', body: { secret: adminSecret } }), 503, 'state_unavailable')
    })
  })

  describe('bodies and faults', () => {
    it('stops at 1 MiB, declared or not, and goes on serving', async () => {
      const body = `{"secret":"${'x'.repeat(2 * 1024 * 1024)}"}`
      const declared = await at.ask('/v1/revoke', { method: 'POST', token, body }).catch((cause: NodeJS.ErrnoException) => cause.code)
      if (typeof declared === 'object') refused(declared, 413, 'body_too_large')
      else assert.fail(String(declared))
      const chunked = await fetch(`http://127.0.0.1:${at.port}/v1/revoke`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
        body: new Blob([body]).stream(),
        duplex: 'half',
      } as RequestInit)
      assert.equal(chunked.status, 413)
      assert.equal((await at.ask('/livez')).status, 200)
    })

    it('answers 404 for what is not there', async () => {
      refused(await at.ask('/nothing', { token }), 404, 'not_found')
      refused(await at.ask('/v1/resources/sandbox/s1', { token }), 404, 'not_found')
    })

    it('answers 503 while state is down, and 500 without the cause for a surprise', async () => {
      const down = await openFixture(() => ({
        labels: {
          read: () => {
            throw new Unavailable('redis://user:password@host is down')
          },
          write: async () => {},
          remove: async () => false,
          swap: async () => false,
          writeMany: async () => [],
          list: async () => ({ entries: [], cursor: undefined }),
        },
        revocations: {
          append: () => Promise.reject(new Error('surprise with a secret')),
          known: () => Promise.reject(new Unavailable('down')),
        },
      }))
      const own = await down.login()
      const answer = await down.ask('/v1/resources/sandbox/s1/labels', { token: own })
      refused(answer, 503, 'state_unavailable')
      assert.equal(answer.text.includes('password'), false)
      const surprise = await down.ask('/v1/revoke', { method: 'POST', token: own, body: { level: 'token', target: 'x' } })
      refused(surprise, 500, 'internal')
      assert.equal(surprise.text.includes('surprise'), false)
      assert.equal(down.faults.length, 1)
    })
  })
})
