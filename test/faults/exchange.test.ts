import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { type AdminClient, adminClient } from '../support/admin.ts'
import { startPostern } from '../support/postern.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { startTokenEndpoint, type TokenBehaviour, type TokenEndpoint } from '../support/token-endpoint.ts'
import { until } from '../support/until.ts'
import type { Received } from '../support/upstream.ts'
import { type FaultEdge, policyOf, secrets, startFaultEdge } from './edge.ts'

/** How long a breaker stays open, in milliseconds, and after how many failures in a row it opens. */
const openMs = 5000
const threshold = 5

describe('a token endpoint that fails', function () {
  this.timeout(40_000)
  let endpoint: TokenEndpoint
  let edge: FaultEdge
  let admin: AdminClient
  let people = 0

  before(async () => {
    endpoint = await startTokenEndpoint()
    const env = { ...secrets, POSTERN_TEST_CLIENT_SECRET: 'a secret of the router' }
    edge = await startFaultEdge(policyOf('exchange.yaml', { endpoint: endpoint.url }), (policy) => startPostern(policy, { env }))
    admin = await adminClient(edge.at.admin)
  })
  after(async () => {
    await edge?.stop()
    await endpoint?.stop()
  })
  beforeEach(async () => {
    // Each test begins with a closed breaker.
    await endpoint.up()
    endpoint.behave('well')
    await until('a closed breaker', async () => (await ask(await edge.token(`warm-up-${people++}`))).status === 200, openMs + 2000)
    assert.equal(await breaker(), 'closed')
  })

  const ask = (token: string, path = '/v1/sandboxes') => request({ port: edge.port, path, headers: { authorization: `Bearer ${token}` } })
  /** Somebody whose token was never exchanged. */
  const somebody = () => edge.token(`somebody-${people++}`)
  const breaker = async () => ((await admin.status())['breakers'] as Record<string, string>)['endpoint']
  const gauge = async () => /^postern_breaker_open\{sts="endpoint"\} (\S+)$/m.exec(await admin.metrics())?.[1]

  async function denied(response: ClientResponse, status: number, reason: string): Promise<void> {
    assert.equal(response.status, status, response.body)
    const body = JSON.parse(response.body) as Record<string, unknown>
    assert.equal(body['reason'], reason)
    const line = await edge.envoy.logLine({ decision_id: response.headers['x-postern-decision'] })
    assert.deepEqual(
      [line['status'], line['decision'], line['reason'], line['route'], line['audience'], line['details']],
      [status, 'deny', reason, 'exchanged', 'workloadmanager', 'ext_authz_denied'],
    )
  }

  it('works when it does not: the upstream gets the exchanged token', async () => {
    const response = await ask(await edge.token('alice'))
    const { headers } = JSON.parse(response.body) as Received
    const token = decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length))
    assert.deepEqual([token.iss, token.sub, token.aud], ['http://sts.example', 'alice', 'workloadmanager'])
  })

  const refused: readonly TokenBehaviour[] = ['refuses', 'wrong_subject', 'wrong_audience', 'wider_scope', 'later_expiry']
  for (const behaviour of refused) {
    it(`answers 403 exchange_refused where it ${behaviour === 'refuses' ? 'refuses' : `gives a token with ${behaviour.replace('_', ' ')}`}`, async () => {
      endpoint.behave(behaviour)
      const before = edge.upstreams.workloadmanager.received.length
      // More than opens a breaker: it is an answer, and no outage.
      for (let i = 0; i <= threshold; i++) await denied(await ask(await somebody()), 403, 'exchange_refused')
      assert.equal(edge.upstreams.workloadmanager.received.length, before, 'nothing went through')
      assert.equal(await breaker(), 'closed')
    })
  }

  const outages: Record<string, () => unknown> = {
    'is down': () => endpoint.down(),
    hangs: () => endpoint.behave('hangs'),
    'answers 500': () => endpoint.behave('fails'),
    'answers with garbage': () => endpoint.behave('garbage'),
  }
  for (const [name, fail] of Object.entries(outages)) {
    it(`answers 503 exchange_unavailable where it ${name}; what is cached goes on; the breaker opens, and closes by itself`, async () => {
      const alice = await edge.token('alice')
      assert.equal((await ask(alice)).status, 200)
      await fail()
      for (let i = 0; i < threshold; i++) {
        const began = performance.now()
        await denied(await ask(await somebody()), 503, 'exchange_unavailable')
        // Two calls of 300 ms and the pause between them, and the deadline of 750 ms above all.
        assert.ok(performance.now() - began < 1000)
      }
      const openedAt = performance.now()
      assert.deepEqual([await breaker(), await gauge()], ['open', '1'])
      const asked = endpoint.asked()
      const began = performance.now()
      await denied(await ask(await somebody()), 503, 'exchange_unavailable')
      assert.ok(performance.now() - began < 500, 'an open breaker answers at once')
      assert.equal(endpoint.asked(), asked, 'and asks nobody')

      assert.equal((await ask(alice)).status, 200, 'a token in memory is good')
      assert.equal((await ask(await somebody(), '/v1/sandboxes/s1/run')).status, 200, 'routes without this endpoint go on')

      await endpoint.up()
      endpoint.behave('well')
      await sleep(Math.max(0, openedAt + openMs - performance.now()))
      await until('recovery', async () => (await ask(await somebody())).status === 200, 2000)
      assert.deepEqual([await breaker(), await gauge()], ['closed', '0'])
    })
  }

  it('a breaker that tries again and fails stays open', async () => {
    endpoint.behave('fails')
    for (let i = 0; i < threshold; i++) await denied(await ask(await somebody()), 503, 'exchange_unavailable')
    const asked = endpoint.asked()
    await until('the one that is let through', async () => (await gauge()) === '0.5', openMs + 1000)
    await Promise.all([1, 2, 3, 4].map(async () => denied(await ask(await somebody()), 503, 'exchange_unavailable')))
    assert.equal(endpoint.asked() - asked, 2, 'one exchange with its one retry')
    assert.equal(await breaker(), 'open')
  })

  it('an answer after the deadline is exchange_unavailable, and is there for the next request', async () => {
    const alice = await edge.token(`slow-${people++}`)
    endpoint.behave('well', 1000)
    const late = await ask(alice, '/v1/sandboxes/s1/slow')
    assert.deepEqual([late.status, (JSON.parse(late.body) as { reason: string }).reason], [503, 'exchange_unavailable'])
    const asked = endpoint.asked()
    await sleep(500)
    const next = await ask(alice, '/v1/sandboxes/s1/slow')
    assert.equal(next.status, 200)
    const { headers } = JSON.parse(next.body) as Received
    assert.equal((await edge.envoy.logLine({ decision_id: headers['x-postern-decision'] }))['cache'], 'hit')
    assert.equal(endpoint.asked(), asked)
  })
})
