import assert from 'node:assert/strict'
import { agentOf } from '../../support/broker.ts'
import { accessToken, basic, exchangeGrant, openWorld, secretOf, type World } from './world.ts'

const bearerGrant = 'urn:ietf:params:oauth:grant-type:jwt-bearer'

/** Every kind of token that there is, at every place that takes one. */
describe('a token is good for what it was made for', function () {
  this.timeout(40_000)
  let world: World
  const tokens: Record<string, string> = {}
  let user: string
  before(async () => {
    world = await openWorld()
    const { broker } = world
    const admin = await broker.login()
    user = await world.users.mint({ sub: 'alice', aud: 'app', roles: ['reader'], exp: Math.floor(Date.now() / 1000) + 3600 })
    const job = await world.jobs.mint({ sub: 'repo', aud: 'sts' })
    const exchanged = (await world.exchange('backend', user, { audience: 'api' })).json
    const app = (await broker.ask('POST', '/v1/admin/apps', { name: 'ci', scopes: ['read:data:*'] }, admin)).json
    const login = { client_id: app['client_id'], client_secret: app['client_secret'] }
    Object.assign(tokens, {
      user,
      job,
      admin,
      own: (await world.own('backend')).json.access_token,
      upstream: (await world.own('backend', { audience: 'api' })).json.access_token,
      exchanged: exchanged.access_token,
      refresh: exchanged.refresh_token,
      app: String((await broker.ask('POST', '/v1/app/auth', login)).json['access_token']),
      agent: (await agentOf(broker, admin)).token,
      swapped: (await world.post('/token', { grant_type: bearerGrant, assertion: job })).json.access_token,
      none: '',
      garbage: 'a.b.c',
    })
    for (const [name, token] of Object.entries(tokens)) assert.equal(typeof token, 'string', name)
  })
  after(() => world?.stop())

  /** Names of the tokens for which it holds; each from an address of its own, since failures are counted by address. */
  const among = async (holds: (token: string, from: string) => Promise<boolean>): Promise<string[]> => {
    const names: string[] = []
    for (const [i, [name, token]] of Object.entries(tokens).entries()) if (await holds(token, `127.0.0.${20 + i}`)) names.push(name)
    return names
  }
  const granted = async (form: Readonly<Record<string, string>>, from: string, client?: string): Promise<boolean> => {
    const { status } = await world.post('/token', form, client === undefined ? {} : basic(client), from)
    assert.ok(status === 200 || status === 400 || status === 401, String(status))
    return status === 200
  }
  const exchange = { grant_type: exchangeGrant, subject_token_type: accessToken }
  const call = (method: string, path: string, body?: unknown) => async (token: string, from: string) =>
    (await world.broker.ask(method, path, body, token, from)).status < 300

  const places: readonly (readonly [what: string, holds: (token: string, from: string) => Promise<boolean>, good: readonly string[]])[] = [
    ['the edge', async (token) => (await world.check('/any', token)) === 'ok', ['user', 'own', 'agent', 'swapped']],
    [
      'a subject for an upstream',
      (token, from) => granted({ ...exchange, subject_token: token, audience: 'api' }, from, 'backend'),
      ['user', 'own', 'agent'],
    ],
    [
      'a subject for the edge',
      (token, from) => granted({ ...exchange, subject_token: token, audience: 'postern' }, from, 'backend'),
      ['user', 'own', 'agent'],
    ],
    [
      'a subject of a client for users alone',
      (token, from) => granted({ ...exchange, subject_token: token, audience: 'api' }, from, 'narrow'),
      ['user'],
    ],
    ['a subject without a client', (token, from) => granted({ ...exchange, subject_token: token }, from), ['job']],
    ['an assertion without a client', (token, from) => granted({ grant_type: bearerGrant, assertion: token }, from), ['job']],
    ['an assertion of a client', (token, from) => granted({ grant_type: bearerGrant, assertion: token }, from, 'backend'), []],
    [
      'an actor',
      (token, from) =>
        granted({ ...exchange, subject_token: user, audience: 'api', actor_token: token, actor_token_type: accessToken }, from, 'backend'),
      ['user', 'job', 'own', 'agent'],
    ],
    [
      'an ID token',
      (token, from) =>
        granted(
          { ...exchange, subject_token: token, audience: 'api', subject_token_type: 'urn:ietf:params:oauth:token-type:id_token' },
          from,
          'backend',
        ),
      ['user'],
    ],
    ['an admin', call('GET', '/v1/admin/apps'), ['admin']],
    ['an app', call('POST', '/v1/app/launch-tokens', { agent_name: 'x', allowed_scope: ['read:data:x'] }), ['app']],
    ['an agent that delegates', call('POST', '/v1/delegate', { scope: ['read:data:x'] }), ['agent']],
    [
      'what a client without that right is told of',
      async (token, from) => token !== '' && ((await world.post('/introspect', { token }, basic('plain'), from)).json.active as boolean),
      [],
    ],
    [
      'what a client is told of',
      async (token, from) => token !== '' && ((await world.post('/introspect', { token }, basic('narrow'), from)).json.active as boolean),
      ['own', 'upstream', 'exchanged', 'app', 'agent', 'swapped'],
    ],
    // A refresh token is good once: so it comes near the end, as do those that end a token.
    ['a refresh token of another', (token, from) => granted({ grant_type: 'refresh_token', refresh_token: token }, from, 'narrow'), []],
    ['a refresh token', (token, from) => granted({ grant_type: 'refresh_token', refresh_token: token }, from, 'backend'), ['refresh']],
    ['an agent that renews', call('POST', '/v1/token/renew'), ['agent']],
  ]
  for (const [what, holds, good] of places)
    it(what, async () => {
      assert.deepEqual(
        await among(holds),
        Object.keys(tokens).filter((name) => good.includes(name)),
      )
    })

  it('tells who has no client nothing of a token that it does not swap', async () => {
    const answers = new Set<string>()
    for (const [i, [name, token]] of Object.entries(tokens).entries())
      for (const as of [{}, { client_id: 'federated' }])
        if (token !== '' && name !== 'job')
          answers.add((await world.post('/token', { ...exchange, subject_token: token, ...as }, {}, `127.0.1.${i + 1}`)).text)
    assert.equal(answers.size, 1, [...answers].join('\n'))
  })

  it('nobody ends what was issued to another', async () => {
    for (const [name, token] of Object.entries(tokens)) {
      if (token === '') continue
      assert.equal((await world.post('/revoke', { token }, basic('narrow'))).status, 200)
      assert.equal((await world.post('/revoke', { token, client_id: 'federated' })).status, 200, name)
    }
    assert.equal(await world.check('/any', tokens['own']), 'ok')
    assert.equal((await world.post('/introspect', { token: tokens['exchanged'] ?? '' }, basic('backend'))).json.active, true)
    // Whoever holds a token that was issued without a client may end it.
    assert.equal(await world.check('/any', tokens['swapped']), 'revoked')
  })

  it('and stands in no log and in no trail, wherever it was put', async () => {
    const secret = secretOf('backend')
    for (const token of Object.values(tokens)) {
      if (token === '') continue
      await world.own('backend', { audience: token, scope: token })
      await world.own('backend', { resource: token })
      await world.exchange('backend', token, { subject_token_type: token, requested_token_type: token, audience: token })
      await world.post('/token', { grant_type: token }, basic('backend'))
      await world.post('/token', { grant_type: 'client_credentials' }, basic(token, secret))
      await world.post('/token', { grant_type: 'client_credentials', client_id: token, client_secret: token }, {}, '127.0.0.90')
    }
    const trail = await world.broker.ask('GET', '/v1/audit/events?limit=1000', undefined, await world.broker.login())
    assert.equal(trail.status, 200)
    assert.match(trail.text, /token_refused/)
    const logged = [...world.postern.program.stdout, ...world.postern.program.stderr].join('\n')
    for (const text of [trail.text, logged]) {
      assert.doesNotMatch(text, /eyJ[\w-]+\.eyJ/)
      assert.ok(!text.includes(secret))
      assert.ok(!text.includes(basic('backend')['authorization']?.slice(6) ?? '-'))
    }
    assert.deepEqual(
      world.postern.logs().filter(({ level }) => level === 'error'),
      [],
    )
  })
})
