import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { openAsker } from '../faults/asker.ts'
import { agentKeys, agentOf, type BrokerClient, brokerClient, brokerSecret } from '../support/broker.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { request } from '../support/request.ts'
import { createStops, type Stops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'
import { startClientsEdge } from './denials-edge.ts'

const encryptionKey = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff'
const url = 'http://localhost:9193'

/** Replicas of one issuer; `@…@` are filled in. */
const policy = (redis: string): string => `version: 1
listen:
  check: { address: "@check@" }
  admin: { address: "@admin@" }
  issuer: { address: "@issuer@", url: "${url}" }
state: "${redis}"
admin: { secret: "${brokerSecret}" }
issuer: { keys: { encryption_key: "${encryptionKey}" } }
broker: { enabled: true, trust_domain: agents.test, roles: [agent] }
identity:
  - { name: agents, type: postern, audience: postern, may_assert: [agent] }
roles: { agent: {} }
routes:
  - { id: data, path: /v1/data, roles: [agent], scopes: ["read:data:x"], downstream: { audience: data } }
`

/** Runs curl as an operator would, with a body on standard input, and gives the status and the answer. */
function curl(method: string, at: string, body?: unknown, token?: string): Promise<{ status: number; json: Record<string, unknown> }> {
  const args = ['--silent', '--show-error', '--max-time', '10', '--request', method, '--write-out', '\n%{http_code}', at]
  if (token !== undefined) args.push('--header', `Authorization: Bearer ${token}`)
  if (body !== undefined) args.push('--header', 'Content-Type: application/json', '--data-binary', JSON.stringify(body))
  return new Promise((resolve, reject) => {
    execFile('curl', args, (error, stdout) => {
      if (error) return reject(error)
      const cut = stdout.lastIndexOf('\n')
      const text = stdout.slice(0, cut)
      resolve({ status: Number(stdout.slice(cut + 1)), json: text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : {} })
    })
  })
}

describe("an agent's life, by curl and through Envoy", function () {
  this.timeout(60_000)
  let stops: Stops
  let edge: Awaited<ReturnType<typeof startClientsEdge>>
  let second: { readonly issuer: string; readonly ask: (token: string) => Promise<string> }
  let adminToken: string
  let redis: RunningRedis

  before(async () => {
    const folder = temporaryFolder()
    stops = createStops(folder.remove)
    const { started } = stops
    redis = started(await startRedis())
    const upstream = started(await startUpstream('data'))
    edge = started(await startClientsEdge(policy(redis.url), upstream.port))
    const [admin = 0, issuer = 0] = await freePorts(2)
    const check = `unix:${folder.file('second.sock')}`
    const values: Record<string, string> = { check, admin: `127.0.0.1:${admin}`, issuer: `127.0.0.1:${issuer}` }
    started(await startPostern(policy(redis.url).replace(/@(check|admin|issuer)@/g, (_, name: string) => values[name]!)))
    const asker = openAsker(check)
    started({ stop: asker.close })
    second = { issuer: `http://127.0.0.1:${issuer}`, ask: (token) => asker.ask('/v1/data', token) }
    adminToken = String((await curl('POST', `${edge.issuer}/v1/admin/auth`, { secret: brokerSecret })).json['access_token'])
  })
  after(() => stops?.stop())

  const throughEnvoy = async (token: string): Promise<number> =>
    (await request({ port: edge.port, path: '/v1/data', headers: { authorization: `Bearer ${token}` } })).status

  /** Admin's launch token, challenge and registration, each by curl. */
  const register = async (task: string, scopes: readonly string[]) => {
    const launch = await curl(
      'POST',
      `${edge.issuer}/v1/admin/launch-tokens`,
      { agent_name: 'data-processor', allowed_scope: scopes, max_ttl: 300, single_use: true, ttl: 30 },
      adminToken,
    )
    assert.equal(launch.status, 201)
    assert.match(String(launch.json['launch_token']), /^[0-9a-f]{64}$/)
    assert.deepEqual(launch.json['policy'], { allowed_scope: scopes, max_ttl: 300 })
    const challenge = await curl('GET', `${edge.issuer}/v1/challenge`)
    assert.equal(challenge.json['expires_in'], 30)
    const nonce = String(challenge.json['nonce'])
    const keys = agentKeys()
    const body = {
      launch_token: launch.json['launch_token'],
      nonce,
      public_key: keys.publicKey,
      signature: keys.sign(nonce),
      orch_id: 'orch-1',
      task_id: task,
      requested_scope: scopes,
    }
    // The other replica knows the nonce and the launch token as well.
    const registered = await curl('POST', `${second.issuer}/v1/register`, body)
    assert.equal(registered.status, 201, JSON.stringify(registered.json))
    assert.equal(registered.json['expires_in'], 300)
    return { id: String(registered.json['agent_id']), token: String(registered.json['access_token']) }
  }

  it('begins with the bootstrap, and goes by renewal and delegation to its release', async () => {
    const first = await register('task-7', ['read:data:*'])
    assert.match(first.id, /^spiffe:\/\/agents\.test\/agent\/orch-1\/task-7\//)
    assert.equal(await throughEnvoy(first.token), 200)
    assert.equal(await throughEnvoy(`${first.token.slice(0, -4)}AAAA`), 401)

    const renewed = await curl('POST', `${edge.issuer}/v1/token/renew`, undefined, first.token)
    assert.equal(renewed.status, 200)
    const token = String(renewed.json['access_token'])
    assert.equal(await throughEnvoy(token), 200)
    assert.equal(await throughEnvoy(first.token), 401)

    const helper = await register('task-8', ['read:data:x'])
    const delegation = { scope: ['read:data:x'], ttl: 60, agent_id: helper.id }
    const delegated = await curl('POST', `${edge.issuer}/v1/delegate`, delegation, token)
    assert.equal(delegated.status, 200)
    assert.equal(await throughEnvoy(String(delegated.json['access_token'])), 200)
    const validated = await curl('POST', `${second.issuer}/v1/token/validate`, { token: delegated.json['access_token'] })
    const claims = validated.json['claims'] as Record<string, unknown>
    assert.deepEqual([validated.json['valid'], claims['sub'], claims['act']], [true, first.id, { sub: helper.id }])
    const tooMuch = await curl('POST', `${edge.issuer}/v1/delegate`, { ...delegation, scope: ['*'] }, token)
    assert.equal(tooMuch.status, 403)

    assert.equal((await curl('POST', `${edge.issuer}/v1/token/release`, undefined, token)).status, 204)
    assert.equal(await throughEnvoy(token), 401)
    assert.equal((await curl('POST', `${edge.issuer}/v1/token/renew`, undefined, token)).status, 401)

    const events = await curl(
      'GET',
      `${edge.issuer}/v1/audit/events?agent_id=${encodeURIComponent(first.id)}&limit=100`,
      undefined,
      adminToken,
    )
    const types = (events.json['events'] as { type: string; detail?: { grant?: string } }[]).map(({ type, detail }) =>
      detail?.grant === undefined ? type : `${type} ${detail.grant}`,
    )
    for (const type of ['agent_registered', 'token_issued register', 'token_issued renew', 'token_issued delegate', 'token_released'])
      assert.ok(types.includes(type), `${type} is not among ${types.join(', ')}`)
  })

  it('ends within a second on the other replica when it is revoked, at every level', async () => {
    const other = await register('task-of-another', ['read:data:x'])
    for (const level of ['token', 'agent', 'task', 'chain']) {
      const task = `task-of-${level}`
      const { id, token } = await register(task, ['read:data:x'])
      assert.equal(await second.ask(token), 'ok')
      assert.equal(await throughEnvoy(token), 200)
      const jti = String((JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { jti: string }).jti)
      const target = { token: jti, agent: id, task, chain: id }[level]
      const revoked = await curl('POST', `${edge.issuer}/v1/revoke`, { level, target }, adminToken)
      assert.deepEqual([revoked.status, revoked.json], [200, { revoked: true, level, target }])
      await until(`${level} to be revoked on the other replica`, async () => (await second.ask(token)) === 'revoked', 1000)
      assert.equal(await throughEnvoy(token), 401)
      assert.equal((await curl('POST', `${second.issuer}/v1/token/renew`, undefined, token)).status, 401)
      assert.deepEqual((await curl('POST', `${second.issuer}/v1/token/validate`, { token })).json, { valid: false })
      // Nor does another help it to one that is younger than the revocation.
      const onward = await curl('POST', `${second.issuer}/v1/delegate`, { scope: ['read:data:x'], agent_id: id }, other.token)
      assert.equal(onward.status, level === 'agent' || level === 'chain' ? 403 : 200, level)
      await sleep(400)
    }
  })

  it('begins for one of a thousand that show the same launch token at once, to both replicas', async () => {
    const first = brokerClient(edge.issuer)
    const other = brokerClient(second.issuer)
    const launch = await first.ask(
      'POST',
      '/v1/admin/launch-tokens',
      { agent_name: 'one of many', allowed_scope: ['read:data:x'], ttl: 120 },
      adminToken,
    )
    // Forty requests of an address are within its limit: twenty agents behind each of fifty.
    const agents = Array.from({ length: 1000 }, (_, i) => ({
      broker: i % 2 ? first : other,
      from: `127.0.1.${1 + Math.floor(i / 20)}`,
      keys: agentKeys(),
      task: `many-${i}`,
    }))
    const nonces = await Promise.all(agents.map(({ broker, from }) => broker.ask('GET', '/v1/challenge', undefined, undefined, from)))
    const answers = await Promise.all(
      agents.map(({ broker, from, keys, task }, i) => {
        const nonce = String(nonces[i]!.json['nonce'])
        const body = { launch_token: launch.json['launch_token'], nonce, public_key: keys.publicKey, signature: keys.sign(nonce) }
        const ids = { orch_id: 'orch-1', task_id: task, requested_scope: ['read:data:x'] }
        return broker.ask('POST', '/v1/register', { ...body, ...ids }, undefined, from)
      }),
    )
    const count = (wanted: number): number => answers.filter(({ status }) => status === wanted).length
    // A machine that is busy may not have an answer of state in time: who is told so may try again, and is not let in twice.
    assert.equal(count(201) + count(401) + count(503), 1000)
    assert.ok(count(201) === 1 || (count(201) === 0 && count(503) > 0), `${count(201)} were let in`)
    assert.ok(count(401) > 0)
  })

  it('is seen in health and metrics', async () => {
    const health = await curl('GET', `${edge.issuer}/v1/health`)
    assert.equal(health.status, 200)
    const { status, version, uptime, db_connected, audit_events_count } = health.json
    assert.deepEqual([status, db_connected, typeof version, typeof uptime], ['ok', true, 'string', 'number'])
    assert.ok(Number(audit_events_count) > 10)
    const metrics = await (await fetch(`${second.issuer}/v1/metrics`)).text()
    assert.match(metrics, /^postern_registrations_total\{status="success"\} [1-9]/m)
    assert.match(metrics, /^postern_tokens_issued_total\{scope="read:data"\} [1-9]/m)
    assert.match(await (await fetch(`${edge.issuer}/v1/metrics`)).text(), /^postern_launch_tokens_created_total [1-9]/m)
  })

  it('waits while state is down, and is told so', async () => {
    const { token } = await register('task-9', ['read:data:x'])
    await redis.kill()
    await until('state to be missed', async () => (await curl('GET', `${edge.issuer}/v1/health`)).status === 503, 5000)
    assert.equal((await curl('GET', `${edge.issuer}/v1/health`)).json['db_connected'], false)
    const launch = await curl('POST', `${edge.issuer}/v1/admin/launch-tokens`, { agent_name: 'x', allowed_scope: ['a:b:c'] }, adminToken)
    const renewed = await curl('POST', `${edge.issuer}/v1/token/renew`, undefined, token)
    for (const answer of [launch, renewed])
      assert.deepEqual([answer.status, answer.json['reason']], [503, 'state_unavailable'], JSON.stringify(answer.json))
  })
})

describe('bad input to the broker', function () {
  this.timeout(60_000)
  let stops: Stops
  let broker: BrokerClient
  let adminAsk: BrokerClient
  let adminToken: string
  let issuerPort: number

  before(async () => {
    const folder = temporaryFolder()
    stops = createStops(folder.remove)
    const [admin = 0, issuer = 0] = await freePorts(2)
    issuerPort = issuer
    const { brokerPolicy } = await import('../support/broker.ts')
    stops.started(await startPostern(brokerPolicy({ admin, issuer, folder: folder.path })))
    broker = brokerClient(`http://127.0.0.1:${issuer}`)
    adminAsk = brokerClient(`http://127.0.0.1:${admin}`)
    adminToken = await broker.login()
  })
  after(() => stops?.stop())

  const refused = async (body: unknown, from: string, status: number, reason: string) => {
    const answer = await broker.ask('POST', '/v1/register', body, undefined, from)
    assert.equal(answer.status, status, answer.text)
    assert.equal(answer.headers['content-type'], 'application/problem+json')
    assert.equal(answer.json['reason'], reason)
    return answer
  }
  const registration = async (change: Record<string, unknown> = {}, scopes = ['read:data:x']) => {
    const launch = await broker.ask('POST', '/v1/admin/launch-tokens', { agent_name: 't', allowed_scope: scopes }, adminToken)
    const nonce = String((await broker.ask('GET', '/v1/challenge', undefined, undefined, '127.0.0.9')).json['nonce'])
    const keys = agentKeys()
    const body = { launch_token: launch.json['launch_token'], nonce, public_key: keys.publicKey, signature: keys.sign(nonce) }
    return { ...body, orch_id: 'o', task_id: 't', requested_scope: scopes, ...change }
  }

  it('the admin secret is wrong, empty or missing', async () => {
    for (const [body, status] of [
      [{ secret: 'wrong'.repeat(8) }, 401],
      [{ secret: '' }, 400],
      [{}, 400],
      ['', 400],
      ['{"secret":', 400],
    ] as const)
      assert.equal((await broker.ask('POST', '/v1/admin/auth', body, undefined, '127.0.0.2')).status, status)
  })

  it('the eleventh login of a burst waits, whichever listener was asked', async () => {
    const login = (client: BrokerClient, path: string, body: object) => client.ask('POST', path, body, undefined, '127.0.0.3')
    const answers = await Promise.all(
      Array.from({ length: 14 }, (_, i) => login(i % 2 ? broker : adminAsk, '/v1/admin/auth', { secret: brokerSecret })),
    )
    const late = answers.filter(({ status }) => status === 429)
    assert.ok(late.length >= 1 && late.length <= 4, `${late.length} were told to wait`)
    assert.ok(Number(late[0]!.headers['retry-after']) >= 1)
    const apps = await Promise.all(
      Array.from({ length: 14 }, () => login(broker, '/v1/app/auth', { client_id: 'app-0', client_secret: 'x' })),
    )
    assert.ok(apps.filter(({ status }) => status === 429).length >= 1)
    assert.deepEqual([...new Set(apps.map(({ status }) => status))].sort(), [401, 429])
  })

  it('asks more than forty times at once', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, () => broker.ask('GET', '/v1/challenge', undefined, undefined, '127.0.0.4')),
    )
    const late = answers.filter(({ status }) => status === 429)
    assert.ok(late.length >= 5 && late.length <= 20, `${late.length} were told to wait`)
    assert.equal(late[0]!.json['reason'], 'too_many_requests')
    assert.ok(late[0]!.headers['retry-after'])
  })

  it('the launch token is unknown, used, or of another form', async () => {
    const from = '127.0.0.5'
    await refused(await registration({ launch_token: 'a'.repeat(64) }), from, 401, 'invalid_launch_token')
    await refused(await registration({ launch_token: 'A'.repeat(64) }), from, 400, 'bad_body')
    const body = await registration()
    assert.equal((await broker.ask('POST', '/v1/register', body, undefined, from)).status, 201)
    const again = await refused(body, from, 401, 'invalid_launch_token')
    assert.equal(again.json['detail'], 'the launch token is invalid, used or expired')
  })

  it('the signature, the nonce or the key is wrong', async () => {
    const from = '127.0.0.6'
    await refused(await registration({ signature: agentKeys().sign('something else') }), from, 401, 'invalid_proof')
    await refused(await registration({ nonce: 'x'.repeat(75) }), from, 401, 'invalid_proof')
    await refused(await registration({ public_key: { kty: 'EC', crv: 'P-256', x: 'x', y: 'y' } }), from, 400, 'bad_body')
    await refused(await registration({ public_key: 'AAAA' }), from, 400, 'bad_body')
    const first = await registration()
    assert.equal((await broker.ask('POST', '/v1/register', first, undefined, from)).status, 201)
    const { launch_token } = await registration()
    await refused({ ...first, launch_token }, from, 401, 'invalid_proof')
  })

  it('a scope is outside of the ceiling, in every spelling', async () => {
    const body = await registration({}, ['read:data:x'])
    for (const scope of ['*', '*:*', '*:*:*', 'read:*', 'read:data:*', 'read:data*', '*:data:x', 'READ:DATA:X', 'read:*:x', 'write:data:x'])
      await refused({ ...body, requested_scope: [scope] }, '127.0.0.7', 403, 'scope_outside_ceiling')
    for (const scope of ['', 'a b', 'a"b', 'a\\b', 'é', 7, null])
      await refused({ ...body, requested_scope: [scope] }, '127.0.0.8', 400, 'bad_body')
    assert.equal((await broker.ask('POST', '/v1/register', body, undefined, '127.0.0.8')).status, 201)
  })

  it('an id is no segment of a SPIFFE path', async () => {
    const body = await registration()
    for (const id of ['', '.', '..', 'a/b', 'a b', '%2e', 'ä', '.a', 'x'.repeat(129)])
      await refused({ ...body, task_id: id }, '127.0.0.10', 400, 'bad_body')
  })

  it('a body is too large, never ends, is no JSON, or says more than was asked', async () => {
    const big = JSON.stringify({ token: 'x'.repeat(2 * 1024 * 1024) })
    assert.equal((await broker.ask('POST', '/v1/token/validate', big, undefined, '127.0.0.11')).status, 413)
    assert.equal((await broker.ask('POST', '/v1/token/validate', { token: 'x', more: 1 }, undefined, '127.0.0.11')).status, 400)
    assert.equal((await broker.ask('POST', '/v1/token/validate', 'token=x', undefined, '127.0.0.11')).status, 400)
    assert.equal(await endless(issuerPort), 413)
  })

  it('the token is of another kind, none, or two', async () => {
    const { token } = await agentOf(broker, adminToken)
    const from = '127.0.0.12'
    for (const path of ['/v1/token/renew', '/v1/token/release', '/v1/delegate', '/v1/app/launch-tokens']) {
      const wrong = path === '/v1/app/launch-tokens' ? token : adminToken
      for (const presented of [undefined, wrong, 'x', `${token}x`]) {
        const answer = await broker.ask('POST', path, { scope: ['a'] }, presented, from)
        assert.equal(answer.status, 401, `${path} ${answer.text}`)
        assert.equal(answer.json['detail'], 'token is invalid or expired')
        assert.match(String(answer.headers['www-authenticate']), /^Bearer /)
      }
    }
    assert.equal((await broker.ask('GET', '/v1/admin/apps', undefined, token)).status, 401)
  })

  it('serves of the admin API what belongs to the broker, and no more', async () => {
    for (const path of ['/status', '/metrics', '/livez', '/v1/admin/keys', '/v1/admin/tokens', '/v1/api-keys', '/v1/resources/a/b/labels'])
      assert.equal((await broker.ask('GET', path, undefined, adminToken)).status, 404, path)
    assert.equal((await broker.ask('POST', '/v1/admin/tokens', { subject: 'x' }, adminToken)).status, 404)
    assert.equal((await broker.ask('POST', '/v1//admin/tokens', { subject: 'x' }, adminToken)).status, 404)
    assert.equal((await broker.ask('POST', '/v1/admin/%74okens', { subject: 'x' }, adminToken)).status, 404)
    assert.equal((await broker.ask('GET', '/v1/admin/apps', undefined, adminToken)).status, 200)
    const answer = await broker.ask('DELETE', '/v1/register')
    assert.deepEqual([answer.status, answer.headers['allow']], [405, 'POST'])
    for (const name of ['x-content-type-options', 'cache-control', 'x-frame-options']) assert.ok(answer.headers[name], name)
  })

  it('a weak admin secret, or none, refuses the start', async () => {
    const { brokerPolicy } = await import('../support/broker.ts')
    const folder = temporaryFolder()
    let running: RunningPostern | undefined
    try {
      const [admin = 0, issuer = 0] = await freePorts(2)
      const good = brokerPolicy({ admin, issuer, folder: folder.path })
      for (const policyText of [good.replace(brokerSecret, 'too short'), good.replace(/^admin:.*\n/m, '')]) {
        await assert.rejects(async () => {
          running = await startPostern(policyText)
        }, /admin|secret/)
      }
    } finally {
      await running?.stop()
      folder.remove()
    }
  })
})

/** Sends a body that goes on and on, and gives the status of the answer. */
function endless(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.13' })
    const chunk = `10000\r\n${' '.repeat(0x10000)}\r\n`
    let timer: NodeJS.Timeout | undefined
    socket.on('connect', () => {
      socket.write('POST /v1/token/validate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n')
      timer = setInterval(() => socket.writable && socket.write(chunk), 2)
    })
    socket.on('data', (bytes) => {
      clearInterval(timer)
      socket.destroy()
      resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(String(bytes))?.[1]))
    })
    socket.on('error', reject)
    socket.on('close', () => clearInterval(timer))
  })
}
