import assert from 'node:assert/strict'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { startProgram } from '../support/program.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { until } from '../support/until.ts'
import { type AgentcubeEdge, startAgentcubeEdge } from './agentcube-edge.ts'
import { ask, isAllowed, isDenied } from './ask.ts'
import type { AccessToken, Person, RunningKeycloak } from './keycloak.ts'
import { sharedKeycloak } from './shared.ts'

const client = fileURLToPath(new URL('client.py', import.meta.url))
const agent = '/v1/namespaces/default/agent-runtimes/my-agent/invocations'
const interpreter = '/v1/namespaces/default/code-interpreters/my-interpreter/invocations'

describe("AgentCube's public routes, by Envoy, Postern and Keycloak", function () {
  this.timeout(30_000)
  let keycloak: RunningKeycloak
  let redis: RunningRedis
  let edge: AgentcubeEdge
  /** AgentCube's own hand on its Redis. */
  let platform: Redis
  const people = {} as Record<Person | 'agentcube-sdk', AccessToken>

  before(async function () {
    this.timeout(180_000)
    redis = await startRedis()
    platform = redis.client()
    keycloak = await sharedKeycloak()
    edge = await startAgentcubeEdge(keycloak, redis)
    for (const who of ['alice', 'bob', 'carol', 'dave', 'erin', 'agentcube-sdk'] as const) people[who] = await keycloak.login(who)
  })

  after(async function () {
    this.timeout(60_000)
    await edge?.stop()
    await redis?.stop()
  })

  const subject = (who: keyof typeof people) => people[who].claims.sub

  const create = async (who: AccessToken, kind: 'agent-runtime' | 'code-interpreter' = 'code-interpreter', through = edge) => {
    const created = await ask(through, { who, method: 'POST', path: `/v1/${kind}`, body: { name: 'my-interpreter', namespace: 'default' } })
    isAllowed(created, { audience: 'workloadmanager', subject: who.claims.sub })
    return { ...created, session: String(created.body['sessionId']) }
  }

  const ownerOf = async (session: string) =>
    (JSON.parse((await platform.get(`session:${session}`)) ?? 'null') as { ownerId?: unknown })?.ownerId

  describe('exchanged tokens', () => {
    it('are what Postern asks of them: same subject, one audience, no scope, an end within the skew', async () => {
      for (const audience of ['picod', 'workloadmanager']) {
        const { claims } = await keycloak.exchange(people.alice.token, audience)
        assert.equal(claims.aud, audience)
        assert.equal(claims.sub, subject('alice'))
        assert.equal(claims['azp'], 'agentcube-router')
        assert.equal(claims['scope'], '')
        assert.ok(claims.exp! <= people.alice.claims.exp! + 60)
      }
    })

    it('are not made for audiences that agentcube-router may not ask for', async () => {
      await assert.rejects(keycloak.exchange(people.alice.token, 'agentcube-sdk'), /Keycloak answered 400/)
    })
  })

  describe('an exchanged token that outlives the caller’s', () => {
    it('is refused, and the log says why', async () => {
      await keycloak.setExchangedLife(600)
      try {
        const who = await keycloak.login('alice')
        const refused = await ask(edge, { who, path: agent })
        isDenied(refused, { status: 403, reason: 'exchange_refused' })
        const line = await edge.postern.log('of the refusal', (one) => one['decision_id'] === refused.log['decision_id'])
        assert.match(String(line['detail']), /exp is later/)
      } finally {
        await keycloak.setExchangedLife(60)
      }
    })
  })

  describe('a program with client_credentials', () => {
    it('makes a session, calls it and ends it', async () => {
      const who = people['agentcube-sdk']
      const { session } = await create(who, 'agent-runtime')
      const called = await ask(edge, { who, method: 'POST', path: agent, session, body: { prompt: 'hello' } })
      isAllowed(called, { audience: 'picod', subject: who.claims.sub })
      assert.equal(called.log['owner_match'], 'yes')
      const ended = await ask(edge, { who, method: 'DELETE', path: `/v1/agent-runtime/sessions/${session}` })
      isAllowed(ended, { audience: 'workloadmanager', subject: who.claims.sub })
      isDenied(await ask(edge, { who, path: agent, session }), { status: 403, reason: 'not_owner' })
    })
  })

  describe('a session of alice', () => {
    let session: string
    before(async () => {
      session = (await create(people.alice)).session
    })

    it('has her as owner, from the subject of the token that the workload manager got', async () => {
      assert.equal(await ownerOf(session), subject('alice'))
    })

    it('is hers to call: picod gets a token for picod with her subject, and never her own', async () => {
      const called = await ask(edge, {
        who: people.alice,
        method: 'POST',
        path: `${interpreter}/api/execute`,
        session,
        body: { command: ['echo', 'hi'] },
      })
      const served = isAllowed(called, { audience: 'picod', subject: subject('alice') })
      assert.equal(called.body['stdout'], 'hi')
      assert.notEqual(served.headers['authorization'], `Bearer ${people.alice.token}`)
      assert.equal(served.headers['x-postern-subject'], subject('alice'))
      assert.deepEqual(served.headers['x-postern-roles']?.split(',').sort(), ['sandbox:invoke', 'sandbox:manage'])
      const { route, resource, owner_match, issuer, realm, enforced } = called.log
      assert.deepEqual(
        { route, resource, owner_match, issuer, realm, enforced },
        {
          route: 'code-interpreter-invocations',
          resource: `session:${session}`,
          owner_match: 'yes',
          issuer: keycloak.issuer,
          realm: 'agentcube',
          enforced: true,
        },
      )
    })

    it('is answered from memory the second time', async () => {
      await ask(edge, { who: people.alice, path: interpreter, session })
      const again = await ask(edge, { who: people.alice, path: interpreter, session })
      assert.equal(again.log['cache'], 'hit')
    })

    it('is refused to bob, who may call only his own', async () => {
      const refused = await ask(edge, { who: people.bob, path: interpreter, session })
      isDenied(refused, { status: 403, reason: 'not_owner' })
      assert.equal(refused.log['owner_match'], 'no')
      assert.equal(refused.log['subject'], subject('bob'))
      isDenied(await ask(edge, { who: people.bob, method: 'DELETE', path: `/v1/code-interpreter/sessions/${session}` }), {
        status: 403,
        reason: 'not_owner',
      })
      assert.equal(await ownerOf(session), subject('alice'))
    })

    it('is open to carol, an admin, in her own name', async () => {
      const called = await ask(edge, { who: people.carol, path: interpreter, session })
      isAllowed(called, { audience: 'picod', subject: subject('carol') })
      assert.equal(called.log['owner_match'], 'bypassed')
    })

    it('is refused without a role, and ending it without sandbox:manage', async () => {
      isDenied(await ask(edge, { who: people.dave, path: interpreter, session }), { status: 403, reason: 'missing_role' })
      const path = `/v1/code-interpreter/sessions/${session}`
      isDenied(await ask(edge, { who: people.erin, method: 'DELETE', path }), { status: 403, reason: 'missing_role' })
    })

    it('passes to bob within a second of AgentCube saying so', async () => {
      const { session: given } = await create(people.alice)
      isAllowed(await ask(edge, { who: people.alice, path: interpreter, session: given }), { audience: 'picod', subject: subject('alice') })
      await platform.set(`session:${given}`, JSON.stringify({ sessionId: given, ownerId: subject('bob') }))
      await until(
        'bob to be the owner',
        async () => (await ask(edge, { who: people.bob, path: interpreter, session: given })).status === 200,
        1_000,
      )
      isDenied(await ask(edge, { who: people.alice, path: interpreter, session: given }), { status: 403, reason: 'not_owner' })
    })

    it('ends when she ends it', async () => {
      const ended = await ask(edge, { who: people.alice, method: 'DELETE', path: `/v1/code-interpreter/sessions/${session}` })
      isAllowed(ended, { audience: 'workloadmanager', subject: subject('alice') })
      assert.equal(ended.log['resource'], `session:${session}`)
      isDenied(await ask(edge, { who: people.alice, path: interpreter, session }), { status: 403, reason: 'not_owner' })
    })
  })

  describe('a session without an owner', () => {
    const broken: Record<string, string> = {
      'no ownerId': '{"sessionId":"s"}',
      'an empty one': '{"ownerId":""}',
      'a number': '{"ownerId":42}',
      null: '{"ownerId":null}',
      'no object': '"alice"',
      'no JSON': 'ownerId: alice',
    }
    for (const [name, text] of Object.entries(broken)) {
      it(`is nobody's: ${name}`, async () => {
        await platform.set('session:broken', text)
        isDenied(await ask(edge, { who: people.alice, path: agent, session: 'broken' }), { status: 403, reason: 'not_owner' })
        await platform.del('session:broken')
      })
    }

    it("is nobody's: a list that holds her", async () => {
      await platform.set('session:list', JSON.stringify({ ownerId: [subject('alice')] }))
      isDenied(await ask(edge, { who: people.alice, path: agent, session: 'list' }), { status: 403, reason: 'not_owner' })
    })

    it("is nobody's: a key of another kind", async () => {
      await platform.rpush('session:other', JSON.stringify({ ownerId: subject('alice') }))
      isDenied(await ask(edge, { who: people.alice, path: agent, session: 'other' }), { status: 403, reason: 'not_owner' })
    })

    it('cannot be told from one that does not exist', async () => {
      await platform.set('session:unowned', '{}')
      const [unowned, unknown] = await Promise.all(
        ['unowned', 'unknown'].map((session) => ask(edge, { who: people.alice, path: agent, session })),
      )
      const shown = ({ status, body }: NonNullable<typeof unowned>) => ({ status, ...body, decision_id: '' })
      isDenied(unknown!, { status: 403, reason: 'not_owner' })
      assert.deepEqual(shown(unknown!), shown(unowned!))
    })
  })

  describe('the session id', () => {
    it('may be missing: then a session is started, and is the caller’s', async () => {
      const started = await ask(edge, { who: people.erin, path: `${agent}/` })
      isAllowed(started, { audience: 'picod', subject: subject('erin') })
      assert.equal(started.log['owner_match'], 'none')
      const session = started.headers['x-agentcube-session-id']!
      assert.equal(await ownerOf(session), subject('erin'))
      isAllowed(await ask(edge, { who: people.erin, method: 'POST', path: `${agent}/`, session, body: {} }), {
        audience: 'picod',
        subject: subject('erin'),
      })
      isDenied(await ask(edge, { who: people.bob, path: `${agent}/`, session }), { status: 403, reason: 'not_owner' })
    })

    it('may not be empty, repeated, or joined', async () => {
      const { session } = await create(people.alice)
      for (const sent of ['', [session, session], `${session},${session}`, '../x']) {
        const headers = { 'x-agentcube-session-id': sent }
        isDenied(await ask(edge, { who: people.alice, path: agent, headers }), { status: 400, reason: 'bad_request' })
      }
    })
  })

  describe('the edge', () => {
    it('leaves health to everybody, and tells upstreams of nobody', async () => {
      for (const path of ['/health/live', '/health/ready']) {
        for (const who of [undefined, people.alice]) {
          const answer = await ask(edge, { who, path, headers: { 'x-postern-subject': 'root' } })
          assert.equal(answer.status, 200)
          assert.equal(answer.served?.headers['x-postern-subject'], undefined)
          assert.equal(answer.served?.headers['authorization'], undefined)
          assert.equal(answer.log['reason'], 'ok')
        }
      }
    })

    it('asks for a credential, and says how', async () => {
      const asked = await ask(edge, { path: agent })
      isDenied(asked, { status: 401, reason: 'no_credential' })
      assert.match(asked.headers['www-authenticate'] ?? '', /^Bearer realm=/)
    })

    it('takes no token that Keycloak did not sign, and no exchanged one', async () => {
      const [head = '', , signature = ''] = people.alice.token.split('.')
      const claims = Buffer.from(JSON.stringify({ ...people.alice.claims, realm_access: { roles: ['admin'] } })).toString('base64url')
      const forged = { ...people.alice, token: `${head}.${claims}.${signature}` }
      isDenied(await ask(edge, { who: forged, path: agent }), { status: 401, reason: 'invalid_credential' })
      const exchanged = await keycloak.exchange(people.alice.token, 'picod')
      isDenied(await ask(edge, { who: exchanged, path: agent }), { status: 401, reason: 'invalid_credential' })
    })

    it('knows no other methods and paths', async () => {
      for (const [method, path] of [
        ['PUT', agent],
        ['GET', '/v1/agent-runtime'],
        ['POST', '/health/live'],
        ['GET', '/v1/agent-runtime/sessions/s1'],
        ['GET', '/v1/namespaces/default/agent-runtimes/my-agent'],
      ] as const) {
        isDenied(await ask(edge, { who: people.carol, method, path }), { status: 403, reason: 'no_route' })
      }
    })
  })

  describe('the published Python client', () => {
    const run = async (how: 'with-token' | 'without-token', token = '') => {
      const url = `https://127.0.0.1:${edge.port}`
      const program = startProgram(process.env['POSTERN_TEST_SDK_PYTHON'] ?? 'python3', [client, how], {
        env: { WORKLOAD_MANAGER_URL: url, ROUTER_URL: url, REQUESTS_CA_BUNDLE: edge.ca, AGENTCUBE_TOKEN: token, NO_PROXY: '127.0.0.1' },
      })
      const { code } = await program.ended
      assert.equal(code, 0, program.stderr.join('\n'))
      return JSON.parse(program.stdout.join('')) as Record<string, unknown>
    }

    it('works with a token: sessions, code, files, an agent', async () => {
      const { session, agent_session, ...seen } = await run('with-token', people.alice.token)
      const { code, files, ...rest } = seen
      assert.equal(code, "print('hello')")
      assert.match(String(files), /^script_\d+\.py,value\.txt,notes\/upload\.txt$/)
      assert.deepEqual(rest, {
        command: 'hello from the sandbox',
        downloaded: 'uploaded',
        agent: {
          kind: 'agent-runtimes',
          name: 'my-agent',
          namespace: 'default',
          path: '',
          subject: subject('alice'),
          payload: { prompt: 'hello' },
        },
      })
      // The context manager ended the first session; the agent's goes on, as AgentCube has it.
      assert.equal(await platform.exists(`session:${session}`), 0)
      assert.equal(await ownerOf(String(agent_session)), subject('alice'))
    })

    it('gets 401 from every call without one', async () => {
      assert.deepEqual(await run('without-token'), { create: 401, execute: 401, list: 401, bootstrap: 401, invoke: 401 })
    })
  })

  describe('with `verified_by: postern`', () => {
    it('decides the same, from discovery and JWKS', async () => {
      const other = await startAgentcubeEdge(keycloak, redis, 'postern')
      try {
        const { session } = await create(people.alice, 'code-interpreter', other)
        const called = await ask(other, { who: people.alice, path: interpreter, session })
        isAllowed(called, { audience: 'picod', subject: subject('alice') })
        isDenied(await ask(other, { who: people.bob, path: interpreter, session }), { status: 403, reason: 'not_owner' })
        isDenied(await ask(other, { who: people.dave, path: interpreter, session }), { status: 403, reason: 'missing_role' })
        const exchanged = await keycloak.exchange(people.alice.token, 'picod')
        isDenied(await ask(other, { who: exchanged, path: agent }), { status: 401, reason: 'invalid_credential' })
        isDenied(await ask(other, { path: agent }), { status: 401, reason: 'no_credential' })
      } finally {
        await other.stop()
      }
    })
  })

  describe('without Keycloak', () => {
    /** Denied for want of a token, though known: Envoy has the keys. */
    const isUnavailable = async (who: AccessToken) => {
      const refused = await ask(edge, { who, path: agent })
      isDenied(refused, { status: 503, reason: 'exchange_unavailable' })
      assert.equal(refused.log['subject'], who.claims.sub)
    }

    it('hanging: exchanged tokens serve until they end, new ones are 503, and it recovers by itself', async function () {
      this.timeout(90_000)
      await keycloak.setExchangedLife(20)
      try {
        const alice = await keycloak.login('alice')
        const erin = await keycloak.login('erin')
        const { session } = await create(alice)
        const first = isAllowed(await ask(edge, { who: alice, path: interpreter, session }), {
          audience: 'picod',
          subject: subject('alice'),
        })
        const end = first.claims!.exp! * 1000
        keycloak.hang()
        await isUnavailable(erin)
        isDenied(await ask(edge, { who: people.bob, path: interpreter, session }), { status: 403, reason: 'not_owner' })
        assert.equal((await ask(edge, { path: '/health/live' })).status, 200)
        const over = await until(
          'the exchanged token to end',
          async () => {
            const sent = Date.now()
            const { status, log } = await ask(edge, { who: alice, path: interpreter, session })
            assert.ok(status !== 200 || sent <= end, 'a token was handed on after its end')
            if (status === 200) return undefined
            assert.equal(log['reason'], 'exchange_unavailable')
            return sent
          },
          40_000,
        )
        assert.ok(over >= end - 1_000, `denied ${end - over} ms before the exchanged token ended`)
        keycloak.resume()
        await until(
          'exchanges to work again',
          async () => (await ask(edge, { who: alice, path: interpreter, session })).status === 200,
          20_000,
        )
      } finally {
        keycloak.resume()
        await keycloak.setExchangedLife(60)
      }
    })

    it('killed: 503 for who has no exchanged token, and it recovers when Keycloak is back', async function () {
      this.timeout(180_000)
      // A program's token stands without a session, whose last write a killed Keycloak may lose.
      const program = await keycloak.login('agentcube-sdk')
      const alice = await keycloak.login('alice')
      const { session } = await create(alice)
      isAllowed(await ask(edge, { who: alice, path: interpreter, session }), { audience: 'picod', subject: subject('alice') })
      await keycloak.kill()
      try {
        await isUnavailable(program)
        // What was exchanged before serves on.
        isAllowed(await ask(edge, { who: alice, path: interpreter, session }), { audience: 'picod', subject: subject('alice') })
        isDenied(await ask(edge, { who: people.bob, path: interpreter, session }), { status: 403, reason: 'not_owner' })
        isDenied(await ask(edge, { path: agent }), { status: 401, reason: 'no_credential' })
      } finally {
        await keycloak.start()
      }
      const back = Date.now()
      await until('exchanges to work again', async () => (await ask(edge, { who: program, path: agent })).status === 200, 30_000)
      if (process.env['POSTERN_TEST_TIMES']) process.stdout.write(`exchanges work ${Date.now() - back} ms after Keycloak does\n`)
      isAllowed(await ask(edge, { who: await keycloak.login('erin'), path: agent }), { audience: 'picod', subject: subject('erin') })
      assert.equal(edge.postern.program.running(), true)
    })
  })
})
