import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { until } from '../support/until.ts'
import { alice, asking } from './reasons-asking.ts'
import { heads, ids, paths, tokens } from './reasons-cases.ts'
import { type ReasonsEdge, startReasonsEdge } from './reasons-edge.ts'

describe('bad input through Envoy', function () {
  this.timeout(30_000)
  let edge: ReasonsEdge
  const { bearer, raw, ask, saw, denied, comesTo } = asking(() => edge)

  before(async () => {
    edge = await startReasonsEdge()
    await edge.admin.setOwner('sandbox', 's1', 'alice')
    await edge.admin.setOwner('sandbox', 's2', 'bob')
  })
  after(() => edge?.stop())

  describe('paths', () => {
    for (const [what, path, ...outcomes] of paths) {
      it(what, async () => {
        const headers = await bearer()
        for (const [i, envoy] of (['hardened', 'lenient'] as const).entries()) {
          const expected = outcomes[i] === 'missing_role' ? { ...alice, route: 'plain-slash' } : {}
          await comesTo(await ask(path, { headers, envoy }), outcomes[i]!, expected, envoy)
        }
      })
    }
  })

  describe('methods, hosts and header names', () => {
    for (const [what, head, outcome] of heads) {
      it(what, async () => {
        const response = await raw(head, { headers: await bearer() })
        // Nobody says more of a HEAD request than its headers.
        if (head[0]!.startsWith('HEAD')) {
          assert.deepEqual([response.status, response.body], [403, ''])
          const line = await edge.hardened.logLine({ decision_id: response.headers['x-postern-decision'] })
          assert.deepEqual([line['reason'], line['route']], [outcome, null])
        } else await comesTo(response, outcome, {})
      })
    }
  })

  for (const verified of ['users', 'here'] as const) {
    describe(`credentials, verified_by: ${verified === 'users' ? 'envoy' : 'postern'}`, () => {
      it('a good one', async () => {
        const issuer = edge.issuers[verified]
        const headers = { authorization: `Bearer ${await issuer.mint({ sub: 'alice', aud: 'edge', roles: ['invoke'] })}` }
        const { headers: seen } = saw(await ask('/plain', { headers }))
        assert.deepEqual([seen['x-postern-subject'], seen['authorization']], [verified === 'users' ? 'alice' : 'here:alice', undefined])
      })
      for (const { what, authorization, reason } of tokens) {
        it(what, async () => {
          const expected = reason
          const response = await ask('/plain', { headers: { authorization: await authorization(edge.issuers[verified]) } })
          await denied(response, expected, expected === 'bad_request' ? {} : { route: 'plain' })
        })
      }
    })
  }

  describe('ids of resources', () => {
    for (const [what, path, headers, outcome] of ids) {
      it(what, async () => {
        const response = await ask(path, { headers: { ...headers, ...(await bearer()) } })
        if (outcome === 'no_route') return denied(response, outcome, {})
        const route = path.startsWith('/sandboxes') ? 'sandbox' : path.slice(1).replace(/\?.*/, '')
        const audience = route === 'sandbox' ? { audience: 'picod' } : {}
        if (outcome !== 'not_owner') return comesTo(response, outcome, { ...alice, route, ...audience })
        const { cache } = await edge.hardened.logLine({ decision_id: response.headers['x-postern-decision'] })
        assert.ok(cache === 'hit' || cache === 'miss')
        const resource = `sandbox:${path.includes('unknown') ? 'unknown' : 's2'}`
        await denied(response, outcome, { ...alice, route, ...audience, resource, owner_match: 'no', cache })
      })
    }

    it('a header that looks like the id', async () => {
      const headers = { ...(await bearer()), 'x-sandbox-id': 's1', x_sandbox_id: 's2' }
      await denied(await ask('/by-header', { headers, envoy: 'lenient' }), 'bad_request', { ...alice, route: 'by-header' }, 'lenient')
    })
  })

  describe('owner labels', () => {
    const label = 'agentcube.io/owner'
    const key = 'postern:default:labels:sandbox:odd'
    const hashes: Record<string, (redis: ReturnType<ReasonsEdge['redis']['client']>) => Promise<unknown>> = {
      'that are missing': (redis) => redis.hset(key, 'team', 'a'),
      'that are empty': (redis) => redis.hset(key, label, ''),
      'in another case': (redis) => redis.hset(key, label, 'Alice'),
      'with a space': (redis) => redis.hset(key, label, 'alice '),
      'in a list': (redis) => redis.hset(key, label, '["alice"]'),
      'where the key holds no hash': (redis) => redis.set(key, 'alice'),
    }
    for (const [what, write] of Object.entries(hashes)) {
      it(`${what} name no owner`, async () => {
        const redis = edge.redis.client()
        await redis.del(key)
        await write(redis)
        await settled('/sandboxes/odd')
        const expected = {
          ...alice,
          route: 'sandbox',
          audience: 'picod',
          resource: 'sandbox:odd',
          owner_match: 'no',
          cache: 'hit',
        } as const
        await denied(await ask('/sandboxes/odd', { headers: await bearer() }), 'not_owner', expected)
      })
    }
    const documents: Record<string, string> = {
      'without owner': '{}',
      'with an empty owner': '{"ownerId":""}',
      'with a number as owner': '{"ownerId":7}',
      'with a list as owner': '{"ownerId":["alice"]}',
      'with null as owner': '{"ownerId":null}',
      'that is no JSON': 'alice',
      'of somebody else': '{"ownerId":"bob"}',
    }
    for (const [what, document] of Object.entries(documents)) {
      it(`a document ${what} is not the caller’s`, async () => {
        await edge.redis.client().set('session:odd', document)
        await settled('/sessions/odd')
        const expected = { ...alice, route: 'session', resource: 'session:odd', owner_match: 'no', cache: 'hit' } as const
        await denied(await ask('/sessions/odd', { headers: await bearer() }), 'not_owner', expected)
      })
    }
    it('a document of the caller is', async () => {
      await edge.redis.client().set('session:odd', '{"ownerId":"alice"}')
      await until('the owner', async () => (await ask('/sessions/odd', { headers: await bearer() })).status === 200, 1000)
    })

    /** What was written before is read, and then in the cache. */
    async function settled(path: string): Promise<void> {
      await sleep(50)
      await ask(path, { headers: await bearer() })
    }
  })

  it('leaves the service up', async () => {
    saw(await ask('/healthz'))
    assert.ok(edge.postern.program.running())
  })
})
