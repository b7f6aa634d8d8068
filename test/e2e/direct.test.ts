import assert from 'node:assert/strict'
import { Redis } from 'ioredis'
import { decodeJwt } from 'jose'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, fixture, startEdge } from '../support/edge.ts'
import { startPostern } from '../support/postern.ts'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { until } from '../support/until.ts'
import { type Received, startUpstream, type Upstream } from '../support/upstream.ts'
import { header, withoutEarlyRemoval } from './direct-rig.ts'

const decisionOf = (response: ClientResponse): string => response.headers['x-postern-decision'] ?? ''
const reasonOf = (response: ClientResponse): string => (JSON.parse(response.body) as { reason: string }).reason

describe('direct routing through Envoy', function () {
  this.timeout(30_000)
  describe('with envoy/direct.yaml', () => describeDirect(undefined))
  // Postern alone stands between a client's header and the cluster.
  describe('without its early removal of the header', () => describeDirect(withoutEarlyRemoval))
  describe('with labels that the platform writes straight to Redis', describeRedis)
})

function describeDirect(change: ((text: string) => string) | undefined) {
  const stops = createStops(() => {})
  let edge: Edge
  let admin: AdminClient
  let hers: Upstream
  let his: Upstream

  const at = (upstream: { port: number }): string => `127.0.0.1:${upstream.port}`
  const label = async (id: string, owner: string, endpoint?: string): Promise<void> => {
    const labels = { 'agentcube.io/owner': owner, ...(endpoint === undefined ? {} : { 'agentcube.io/endpoint': endpoint }) }
    const response = await admin.call('PUT', `/v1/resources/sandbox/${id}/labels`, labels)
    assert.ok(response.ok, await response.text())
  }
  before(async () => {
    hers = stops.started(await startUpstream('hers'))
    his = stops.started(await startUpstream('his'))
    let address = ''
    const start = (policy: string, { admin }: { admin: string }) => {
      address = admin
      return startPostern(policy, { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } })
    }
    edge = stops.started(await startEdge('direct.yaml', fixture('direct.yaml'), start, 1, change))
    admin = await adminClient(address)
    await label('alices', 'alice', at(hers))
    await label('bobs', 'bob', at(his))
  })
  after(() => stops.stop())

  const token = (sub: string): Promise<string> =>
    edge.users.mint({ sub, aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] } })
  const ask = async (id: string, sub = 'alice', headers = {}): Promise<ClientResponse> =>
    request({
      port: edge.port,
      tls: edge.tls(),
      path: `/v1/sandboxes/${id}/run`,
      headers: { authorization: `Bearer ${await token(sub)}`, ...headers },
    })
  const saw = (response: ClientResponse): Received => {
    assert.equal(response.status, 200, response.body)
    return JSON.parse(response.body) as Received
  }

  it('leads each to the sandbox of their own, with a token for that one, and without the header', async () => {
    for (const [sub, id, name] of [
      ['alice', 'alices', 'hers'],
      ['bob', 'bobs', 'his'],
    ] as const) {
      const { upstream, headers } = saw(await ask(id, sub))
      assert.deepEqual([upstream, headers['x-postern-subject'], headers[header]], [name, sub, undefined])
      const downstream = decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length))
      assert.deepEqual([downstream.sub, downstream.aud, downstream['resource']], [sub, 'picod', `sandbox:${id}`])
    }
  })

  it('leads nobody to the sandbox of somebody else, nor to one that nobody knows', async () => {
    const before = his.received.length
    for (const id of ['bobs', 'unknown']) {
      const response = await ask(id)
      assert.deepEqual([response.status, reasonOf(response)], [403, 'not_owner'])
    }
    assert.equal(his.received.length, before)
  })

  it('does not let a client choose, in any spelling', async () => {
    const before = his.received.length
    const bearer = `Authorization: Bearer ${await token('alice')}`
    const to = at(his)
    for (const lines of [
      [`${header}: ${to}`],
      [`X-ENVOY-ORIGINAL-DST-HOST: ${to}`, `${header}: ${to}`],
      [`${header}: ${to},${to}`],
      [`${header}:`],
    ]) {
      const send = (path: string) =>
        sendRaw(edge.port, rawRequest([`GET ${path} HTTP/1.1`, 'Host: a', bearer, ...lines, 'Connection: close']), edge.tls())
      assert.equal((await send('/v1/sandboxes/alices/run')).status, 200)
      assert.equal((await send('/v1/sandboxes/bobs/run')).status, 403)
      // Public and other routes do not hand it on.
      assert.equal((await send('/healthz')).status, 200)
    }
    assert.equal(his.received.length, before)
    assert.ok(edge.upstreams.workloadmanager.received.length >= 4)
    assert.ok(edge.upstreams.workloadmanager.received.every(({ headers }) => headers[header] === undefined))
  })

  it('follows the label: the next request goes to the new endpoint', async () => {
    const second = stops.started(await startUpstream('second'))
    await label('moving', 'alice', at(hers))
    assert.equal(saw(await ask('moving')).upstream, 'hers')
    await label('moving', 'alice', at(second))
    const begun = performance.now()
    await until('the new endpoint', async () => saw(await ask('moving')).upstream === 'second', 1000)
    assert.ok(performance.now() - begun < 1000)
    // Connections to the first one are still open, and serve nobody who is led elsewhere.
    for (let i = 0; i < 5; i++) assert.equal(saw(await ask('moving')).upstream, 'second')
    assert.equal(saw(await ask('alices')).upstream, 'hers')
  })

  it('leads a new owner to the new endpoint, and the former one nowhere', async () => {
    await label('given', 'alice', at(hers))
    assert.equal(saw(await ask('given')).upstream, 'hers')
    await label('given', 'bob', at(his))
    assert.equal(saw(await ask('given', 'bob')).upstream, 'his')
    assert.deepEqual(reasonOf(await ask('given')), 'not_owner')
  })

  it('answers 503 endpoint_unavailable where the label is missing, to the owner alone', async () => {
    await label('nowhere', 'alice')
    const response = await ask('nowhere')
    assert.deepEqual([response.status, reasonOf(response)], [503, 'endpoint_unavailable'])
    const line = await edge.envoy.logLine({ decision_id: decisionOf(response) })
    assert.deepEqual([line['reason'], line['owner_match'], line['details']], ['endpoint_unavailable', 'yes', 'ext_authz_denied'])
    assert.equal(reasonOf(await ask('nowhere', 'bob')), 'not_owner')
  })

  it('does not take an endpoint outside of the networks, nor what is none', async () => {
    for (const endpoint of ['10.1.2.3:80', '169.254.169.254:80', `localhost:${hers.port}`, '127.0.0.1', '127.0.0.1:0']) {
      const response = await admin.call('PUT', '/v1/resources/sandbox/wrong/labels', {
        'agentcube.io/owner': 'alice',
        'agentcube.io/endpoint': endpoint,
      })
      assert.equal(response.status, 400, endpoint)
    }
  })

  it('answers 503 where the sandbox is gone, as Envoy tells it', async () => {
    const gone = await startUpstream('gone')
    await gone.stop()
    await label('gone', 'alice', at(gone))
    const response = await ask('gone')
    assert.deepEqual([response.status, response.headers['content-type']], [503, 'text/plain'])
    assert.equal((await edge.envoy.logLine({ flags: 'UF' }))['decision'], 'allow')
  })

  it('goes nowhere when Postern is gone', async () => {
    await edge.postern.stop()
    const before = [hers, his].map(({ received }) => received.length)
    assert.equal((await ask('alices', 'alice', { [header]: at(his) })).status, 503)
    assert.deepEqual(
      [hers, his].map(({ received }) => received.length),
      before,
    )
  })
}

function describeRedis() {
  const stops = createStops(() => {})
  let edge: Edge
  let redis: RunningRedis
  let platform: Redis
  let upstreams: readonly Upstream[]
  before(async () => {
    redis = stops.started(await startRedis())
    platform = new Redis(redis.port, '127.0.0.1')
    stops.started({ stop: async () => void platform.disconnect() })
    upstreams = [stops.started(await startUpstream('first')), stops.started(await startUpstream('second'))]
    const policy = fixture('direct.yaml')
      .replace('state: "memory:"', `state: "redis://127.0.0.1:${redis.port}/0"`)
      .concat(`issuer: { keys: { encryption_key: "\${env:POSTERN_TEST_ENCRYPTION_KEY}" } }\n`)
    const env = { POSTERN_TEST_ADMIN_SECRET: adminSecret, POSTERN_TEST_ENCRYPTION_KEY: '00112233445566778899aabbccddeeff'.repeat(2) }
    edge = stops.started(await startEdge('direct.yaml', policy, (filled) => startPostern(filled, { env })))
  })
  after(() => stops.stop())

  const ask = async (id: string): Promise<ClientResponse> => {
    const token = await edge.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] } })
    return request({ port: edge.port, tls: edge.tls(), path: `/v1/sandboxes/${id}/run`, headers: { authorization: `Bearer ${token}` } })
  }
  const write = (id: string, endpoint: string) =>
    platform.hset(`postern:default:labels:sandbox:${id}`, { 'agentcube.io/owner': 'alice', 'agentcube.io/endpoint': endpoint })

  it('follows a change within a second', async () => {
    for (const [i, { port }] of upstreams.entries()) {
      await write('s1', `127.0.0.1:${port}`)
      const name = ['first', 'second'][i]
      await until(
        name!,
        async () => {
          const response = await ask('s1')
          return response.status === 200 && (JSON.parse(response.body) as Received).upstream === name
        },
        1000,
      )
    }
  })

  it('answers 503 endpoint_unavailable for one outside of the networks, and for what is none', async () => {
    const port = upstreams[0]!.port
    const wrong = [
      '',
      '10.1.2.3:80',
      '169.254.169.254:80',
      '0.0.0.0:80',
      `localhost:${port}`,
      '127.0.0.1',
      '127.0.0.1:0',
      `127.0.0.1:${port} `,
    ]
    wrong.push(`127.0.0.1:${port},127.0.0.1:${port}`, `[::ffff:127.0.0.1]:${port}`, `0177.0.0.1:${port}`, `127.0.0.1:${port}\r\nx-a: b`)
    for (const [i, endpoint] of wrong.entries()) {
      await write(`wrong-${i}`, endpoint)
      const response = await ask(`wrong-${i}`)
      assert.deepEqual([response.status, reasonOf(response)], [503, 'endpoint_unavailable'], endpoint)
    }
    assert.equal(upstreams[0]!.received.length > 0, true)
  })
}
