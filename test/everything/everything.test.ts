import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { startHelper } from '../spire/helper.ts'
import { type ClientResponse, request, requestHttp2 } from '../support/request.ts'
import { until } from '../support/until.ts'
import { startLoad } from './load.ts'
import { ownersKey } from './owners.ts'
import { type Everything, idOf, startEverything, withoutEverything } from './platform.ts'

type Who = 'alice' | 'bob' | 'carol' | 'dave'

describe('a whole platform', function () {
  this.timeout(180_000)
  let all: Everything
  const tokens = new Map<string, string>()
  const subjects = new Map<string, string>()

  before(async function () {
    if (withoutEverything() !== undefined) return this.skip()
    all = await startEverything()
    for (const who of ['alice', 'bob', 'carol', 'dave', 'agentcube-sdk'] as const) {
      const { token, claims } = await all.keycloak.login(who)
      tokens.set(who, token)
      subjects.set(who, claims.sub ?? '')
    }
    tokens.set('acme', await tokenOfAcme())
    // A Keycloak that has just started takes longer for its first exchanges than a check may wait.
    const made = async (): Promise<boolean> => (await ask('/v1/sandboxes', { as: 'carol', method: 'POST', body: '{}' })).status === 201
    await until('the first exchange', made, 30_000)
  })
  after(() => all?.stop())

  /** Of the program agentcube-sdk in the realm of the other tenant. */
  async function tokenOfAcme(): Promise<string> {
    const authorization = `Basic ${Buffer.from(`agentcube-sdk:${all.acmeSecret}`).toString('base64')}`
    const answer = await fetch(`${all.keycloak.url}/realms/acme/protocol/openid-connect/token`, {
      method: 'POST',
      headers: { authorization },
      body: new URLSearchParams({ grant_type: 'client_credentials' }),
    })
    return ((await answer.json()) as { access_token: string }).access_token
  }

  interface Asked {
    readonly as?: Who | 'acme' | 'agentcube-sdk'
    readonly host?: string
    readonly method?: string
    readonly body?: string
  }
  const ask = (path: string, { as, host = 'agentcube.example', method = 'GET', body }: Asked = {}): Promise<ClientResponse> =>
    request({
      port: all.port,
      tls: all.tls(),
      method,
      path,
      headers: { host, ...(as === undefined ? {} : { authorization: `Bearer ${tokens.get(as)}` }) },
      ...(body === undefined ? {} : { body }),
    })
  const create = async (as: Who | 'agentcube-sdk'): Promise<string> => {
    const answer = await ask('/v1/sandboxes', { as, method: 'POST', body: '{}' })
    assert.equal(answer.status, 201, answer.body)
    return (JSON.parse(answer.body) as { id: string }).id
  }
  const reasonOf = ({ body }: ClientResponse): string => (JSON.parse(body) as { reason: string }).reason
  const refused = async (answer: Promise<ClientResponse>, status: number, reason: string): Promise<void> => {
    const said = await answer
    assert.deepEqual([said.status, said.body.startsWith('{') ? reasonOf(said) : said.body], [status, reason])
  }

  describe('a request', () => {
    let mine: string
    before(async () => {
      mine = await create('alice')
    })

    it('makes a sandbox, whose owner the workload manager and Postern both know', async () => {
      const { body } = await ask('/v1/sandboxes', { as: 'alice' })
      assert.deepEqual((JSON.parse(body) as { items: object[] }).items, [{ id: mine, owner: subjects.get('alice') }])
      const [owner] = await (await all.redis.at(ownersKey('agentcube', mine))).hmget(ownersKey('agentcube', mine), 'agentcube.io/owner')
      assert.equal(owner, subjects.get('alice'))
    })

    it('reaches the sandbox over mTLS, with a token for it alone', async () => {
      const { status, body } = await ask(`/v1/sandboxes/${mine}/run`, { as: 'alice' })
      assert.equal(status, 200, body)
      const said = JSON.parse(body) as Record<string, string>
      assert.deepEqual([said['subject'], said['workload'], said['resource']], [subjects.get('alice'), idOf('router'), `sandbox:${mine}`])
    })

    it('reaches the other kind over plain HTTP, with a token of Keycloak', async () => {
      const { status, body } = await ask(`/v1/sandboxes/${mine}/fast/run`, { as: 'alice' })
      assert.equal(status, 200, body)
      const said = JSON.parse(body) as Record<string, string>
      assert.deepEqual([said['subject'], said['issuer']], [subjects.get('alice'), all.keycloak.issuer])
    })

    it('is refused for other people, other roles, and nobody', async () => {
      await refused(ask(`/v1/sandboxes/${mine}/run`, { as: 'bob' }), 403, 'not_owner')
      await refused(ask(`/v1/sandboxes/${mine}/fast/run`, { as: 'bob' }), 403, 'not_owner')
      await refused(ask(`/v1/sandboxes/${mine}`, { as: 'bob', method: 'DELETE' }), 403, 'not_owner')
      await refused(ask(`/v1/sandboxes/${mine}/run`, { as: 'dave' }), 403, 'missing_role')
      await refused(ask(`/v1/sandboxes/${mine}/run`), 401, 'no_credential')
      await refused(ask('/v1/elsewhere', { as: 'alice' }), 403, 'no_route')
    })

    it('is let through for administrators, who inherit every role', async () => {
      assert.equal((await ask(`/v1/sandboxes/${mine}/run`, { as: 'carol' })).status, 200)
    })

    it('of the owner takes it away, and then it is nobody’s', async () => {
      const id = await create('bob')
      assert.equal((await ask(`/v1/sandboxes/${id}`, { as: 'bob', method: 'DELETE' })).status, 204)
      await refused(ask(`/v1/sandboxes/${id}/run`, { as: 'bob' }), 403, 'not_owner')
    })

    it('is told in the access log, with what was decided and by whose certificate', async () => {
      const answer = await ask(`/v1/sandboxes/${mine}/run`, { as: 'bob' })
      const line = await all.envoy.logLine({ decision_id: answer.headers['x-postern-decision'] })
      assert.deepEqual([line['decision'], line['reason'], line['realm'], line['owner_match']], ['deny', 'not_owner', 'agentcube', 'no'])
    })
  })

  describe('tenants', () => {
    const shared = 'same-id'
    before(async () => {
      // As the platform writes them, straight to Redis.
      const owner = (token: string): string =>
        (JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString()) as { sub: string }).sub
      for (const [realm, who] of [
        ['agentcube', 'alice'],
        ['acme', 'acme'],
      ] as const) {
        const key = ownersKey(realm, shared)
        await (await all.redis.at(key)).hset(key, 'agentcube.io/owner', owner(tokens.get(who)!))
      }
    })

    it('have sandboxes of the same name apart', async () => {
      for (const [host, as] of [
        ['agentcube.example', 'alice'],
        ['acme.example', 'acme'],
      ] as const) {
        const { status, body } = await ask(`/v1/sandboxes/${shared}/run`, { host, as })
        assert.equal(status, 200, body)
        const { issuer } = JSON.parse(body) as { issuer: string }
        assert.ok(issuer.endsWith(`/realms/${host.split('.')[0]}`), issuer)
      }
    })

    it('do not take each other’s tokens', async () => {
      await refused(ask(`/v1/sandboxes/${shared}/run`, { host: 'agentcube.example', as: 'acme' }), 401, 'no_validator_admitted')
      await refused(ask(`/v1/sandboxes/${shared}/run`, { host: 'acme.example', as: 'alice' }), 401, 'no_validator_admitted')
    })

    it('are named by Envoy alone, and nobody stands for none', async () => {
      await refused(ask(`/v1/sandboxes/${shared}/run`, { host: 'other.example', as: 'alice' }), 403, 'no_route')
    })
  })

  describe('whoever goes around the edge', () => {
    it('is refused by Postern, for want of the router’s ID', async () => {
      const picod = all.helpers.picod
      const call = {
        method: 'POST',
        path: '/envoy.service.auth.v3.Authorization/Check',
        headers: { 'content-type': 'application/grpc', te: 'trailers' },
        body: Buffer.alloc(5),
      }
      for (const port of all.checks) {
        const said = await requestHttp2({ port, tls: all.tls(picod), ...call }).then(
          ({ trailers, headers }) => trailers['grpc-status'] ?? headers['grpc-status'],
          () => 'closed',
        )
        assert.notEqual(said, '0')
      }
    })

    it('is refused by the sandbox and the workload manager', async () => {
      const token = tokens.get('alice')
      for (const { port } of [all.upstreams.sandbox, all.upstreams.workloadmanager]) {
        const asked = request({ port, tls: all.tls(all.helpers.picod), headers: { authorization: `Bearer ${token}` } })
        const said = await asked.then(
          ({ status }) => status,
          () => 'closed',
        )
        assert.ok(said === 'closed' || said === 403 || said === 401, `answered ${said}`)
      }
    })

    it('is refused by the sandbox without TLS, for want of an exchanged token', async () => {
      const { port } = all.upstreams.sandboxAtOnce
      assert.equal((await request({ port, path: '/v1/sandboxes/x/run' })).status, 401)
      const headers = { authorization: `Bearer ${tokens.get('alice')}` }
      assert.equal((await request({ port, path: '/v1/sandboxes/x/run', headers })).status, 401)
    })

    it('is refused where its certificate is of the same trust domain and another ID', async () => {
      const stranger = await startHelper(all.domain, idOf('stranger'), { more: ['-dns', 'localhost'] })
      try {
        const asked = request({ port: all.upstreams.sandbox.port, tls: all.tls(stranger), path: '/v1/sandboxes/x/run' })
        const said = await asked.then(
          ({ status }) => status,
          () => 'closed',
        )
        assert.ok(said === 'closed' || said === 403 || said === 401, `answered ${said}`)
      } finally {
        await stranger.stop()
      }
    })
  })

  describe('under load', () => {
    let ids: Readonly<Record<'alice' | 'bob', string>>
    before(async () => {
      ids = { alice: await create('alice'), bob: await create('bob') }
    })

    const expecting = async (answer: Promise<ClientResponse>, wanted: number): Promise<string | undefined> => {
      const { status, body, headers } = await answer
      if (status === wanted) return undefined
      const id = headers['x-postern-decision'] ?? '-'
      const line = all.envoy.accessLog().findLast((one) => one['status'] === status && (one['decision_id'] ?? '-') === id)
      return `${status} ${body} ${JSON.stringify(line)}`
    }
    const load = () =>
      startLoad([
        () => expecting(ask(`/v1/sandboxes/${ids.alice}/run`, { as: 'alice' }), 200),
        () => expecting(ask(`/v1/sandboxes/${ids.bob}/fast/run`, { as: 'bob' }), 200),
        () => expecting(ask(`/v1/sandboxes/${ids.alice}/run`, { as: 'bob' }), 403),
        () => expecting(ask('/v1/sandboxes', { as: 'bob' }), 200),
        () => expecting(ask('/v1/sandboxes/same-id/run', { as: 'acme', host: 'acme.example' }), 200),
      ])

    it('renews every certificate, and no request fails', async () => {
      const { postern, workloadmanager, picod } = all.helpers
      const seen = [postern, workloadmanager, picod].map((helper) => ({ helper, serials: new Set<string>() }))
      const going = load()
      await until(
        'three certificates of each',
        async () => {
          for (const { helper, serials } of seen) {
            const serial = helper.serial()
            if (serial !== undefined) serials.add(serial)
          }
          await sleep(200)
          return seen.every(({ serials }) => serials.size >= 3)
        },
        90_000,
      )
      // So that connections begin with the last ones.
      await sleep(4_000)
      await going.stop()
      assert.deepEqual(going.failed, [])
      assert.ok(going.answered() > 200, `${going.answered()} answered`)
    })

    it('loses one replica, and no request but those that it had', async () => {
      const going = load()
      await sleep(2_000)
      assert.deepEqual(going.failed, [])
      const killed = performance.now()
      await all.posterns[0]!.kill()
      const gone = performance.now()
      await sleep(6_000)
      await going.stop()
      // What was begun when it was gone has another replica.
      assert.deepEqual(
        going.failed.filter(({ begun, ended }) => begun > gone + 50 || ended < killed),
        [],
      )
      assert.ok(going.failed.length < 15, JSON.stringify(going.failed))
      assert.ok(going.answered() > 150, `${going.answered()} answered`)
    })

    it('has the replica back, with what was written meanwhile', async () => {
      const made = await create('alice')
      await all.restart(0)
      const going = load()
      await sleep(5_000)
      await going.stop()
      assert.deepEqual(going.failed, [])
      for (let i = 0; i < 10; i++) assert.equal((await ask(`/v1/sandboxes/${made}/run`, { as: 'alice' })).status, 200)
    })
  })
})
