import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { until } from '../support/until.ts'
import { type Received, startUpstream, type Upstream } from '../support/upstream.ts'
import { allowing, header, type Rig, startRig, startSilent, withoutEarlyRemoval } from './direct-rig.ts'

const path = '/v1/sandboxes/s1/run'

describe('envoy/direct.yaml, whatever Postern answers', function () {
  this.timeout(30_000)

  describe('as it is', () => {
    const stops = createStops(() => {})
    let rig: Rig
    let a: Upstream
    let b: Upstream
    before(async () => {
      a = stops.started(await startUpstream('a'))
      b = stops.started(await startUpstream('b'))
      rig = stops.started(await startRig())
    })
    after(() => stops.stop())

    const ask = (headers = {}): Promise<ClientResponse> => request({ port: rig.edge.port, tls: rig.edge.tls(), path, headers })
    const at = (upstream: { port: number }): string => `127.0.0.1:${upstream.port}`
    const answer = (...what: Parameters<typeof allowing>): void => {
      const one = allowing(...what)
      rig.answering.check = () => one
    }
    const saw = (response: ClientResponse): Received => {
      assert.equal(response.status, 200, response.body)
      return JSON.parse(response.body) as Received
    }

    it('goes to the address that Postern set, and does not hand it on', async () => {
      answer(at(a))
      const { upstream, headers } = saw(await ask())
      assert.deepEqual([upstream, headers[header]], ['a', undefined])
    })

    it('goes to the new address with the next request, and back, while connections to both are pooled', async () => {
      const order: string[] = []
      for (const upstream of [a, b, a, b, b, a]) {
        answer(at(upstream))
        order.push(saw(await ask()).upstream)
      }
      assert.deepEqual(order, ['a', 'b', 'a', 'b', 'b', 'a'])
      const stats = await rig.edge.envoy.admin('/stats?filter=cluster.sandboxes.upstream_cx_total')
      // The connections were used again, each for its own address alone.
      assert.match(stats, /upstream_cx_total: 2\b/)
    })

    it('is not led elsewhere by a client, in any spelling, once or twice', async () => {
      const to = at(b)
      const spellings = [
        [`${header}: ${to}`],
        [`X-Envoy-Original-DST-Host: ${to}`, `${header}: ${to}`],
        [`${header}: ${to}, ${to}`],
        [`${header}:`],
      ]
      const before = b.received.length
      for (const lines of spellings) {
        const bytes = rawRequest([`GET ${path} HTTP/1.1`, 'Host: a', ...lines, 'Connection: close'])
        answer(at(a))
        const direct = await sendRaw(rig.edge.port, bytes, rig.edge.tls())
        assert.equal(direct.status, 200)
        // Even where Postern, or what stands in its place, has nothing to say of the header.
        for (const remove of [[header], []]) {
          answer(undefined, remove)
          assert.equal((await sendRaw(rig.edge.port, bytes, rig.edge.tls())).status, 503)
        }
      }
      const underscored = rawRequest([`GET ${path} HTTP/1.1`, 'Host: a', `x_envoy_original_dst_host: ${to}`, 'Connection: close'])
      assert.equal((await sendRaw(rig.edge.port, underscored, rig.edge.tls())).status, 400)
      assert.equal(b.received.length, before)
    })

    it('answers 503 at once where there is no address, or what is none', async () => {
      for (const endpoint of [undefined, '', 'nonsense', '127.0.0.1', 'localhost:80', '127.0.0.1:99999', '[::1]']) {
        answer(endpoint)
        const response = await ask()
        assert.deepEqual([response.status, response.body], [503, 'no healthy upstream'], String(endpoint))
      }
      const line = await rig.edge.envoy.logLine({ details: 'no_healthy_upstream' })
      assert.deepEqual([line['status'], line['flags'], line['decision'], line['upstream']], [503, 'UH', 'allow', 'sandboxes'])
    })

    it('answers 503 where nobody listens there', async () => {
      const gone = await startUpstream('gone')
      await gone.stop()
      answer(at(gone))
      const response = await ask()
      assert.equal(response.status, 503)
      assert.match(response.body, /connection failure/)
      assert.equal((await rig.edge.envoy.logLine({ flags: 'UF' }))['status'], 503)
    })

    it('answers 503 within connect_timeout where nobody answers', async () => {
      const silent = await startSilent()
      try {
        answer(at(silent))
        const begun = performance.now()
        const response = await ask()
        const took = performance.now() - begun
        assert.equal(response.status, 503)
        assert.match(response.body, /connection timeout/)
        assert.ok(took > 900 && took < 4000, `${took} ms`)
      } finally {
        await silent.stop()
      }
    })

    it('goes to an IPv6 address', async function () {
      const server = createServer((asked: IncomingMessage, response) => response.end(asked.socket.localAddress))
      try {
        server.listen(0, '::1')
        await once(server, 'listening')
      } catch {
        this.skip() // no IPv6 on this machine
      }
      try {
        answer(`[::1]:${(server.address() as AddressInfo).port}`)
        const response = await ask()
        assert.deepEqual([response.status, response.body], [200, '::1'])
      } finally {
        server.closeAllConnections()
        server.close()
      }
    })

    it('asks Postern before it goes anywhere', async () => {
      await rig.answering.stop()
      const before = a.received.length
      assert.equal((await ask({ [header]: at(a) })).status, 503)
      assert.equal(a.received.length, before)
      assert.equal((await rig.edge.envoy.logLine({ details: 'ext_authz_error' }))['status'], 503)
    })
  })

  it('believes a client where neither the listener nor Postern removes its header: why lint wants direct routes alone there', async () => {
    const rig = await startRig(withoutEarlyRemoval)
    const upstream = await startUpstream('any')
    try {
      const headers = { [header]: `127.0.0.1:${upstream.port}` }
      const ask = () => request({ port: rig.edge.port, tls: rig.edge.tls(), path, headers })
      rig.answering.check = () => allowing(undefined)
      assert.equal((await ask()).status, 200)
      rig.answering.check = () => allowing(undefined, [header])
      assert.equal((await ask()).status, 503)
    } finally {
      await rig.stop()
      await upstream.stop()
    }
  })

  it('finds no host where the route removes the header itself', async () => {
    const route = '                        - match: { prefix: /v1/sandboxes/ }\n'
    const rig = await startRig((text) => {
      assert.ok(text.includes(route))
      return text.replace(route, `${route}                          request_headers_to_remove: [${header}]\n`)
    })
    const upstream = await startUpstream('any')
    try {
      rig.answering.check = () => allowing(`127.0.0.1:${upstream.port}`)
      assert.equal((await request({ port: rig.edge.port, tls: rig.edge.tls(), path })).status, 503)
    } finally {
      await rig.stop()
      await upstream.stop()
    }
  })

  it('counts the requests and connections of all sandboxes together', async () => {
    const limits = 'max_connections: 10000, max_pending_requests: 10000, max_requests: 10000'
    const rig = await startRig((text) => {
      assert.ok(text.includes(limits))
      return text.replace(limits, 'max_connections: 1, max_pending_requests: 1, max_requests: 2')
    })
    const held: (() => void)[] = []
    const slow = (name: string) =>
      startUpstream(name, {
        answer: (_, response) => {
          held.push(() => response.end(name))
          return true
        },
      })
    const sandboxes = await Promise.all(['a', 'b', 'c'].map(slow))
    try {
      const asked = sandboxes.map(async ({ port }, i) => {
        // One after the other, so that it is the third that is too many.
        await until(`${i} requests to be held`, () => held.length === i || undefined)
        rig.answering.check = () => allowing(`127.0.0.1:${port}`)
        return request({ port: rig.edge.port, tls: rig.edge.tls(), path })
      })
      // A sandbox that has no connection gets one, however many there are.
      const third = await asked[2]!
      assert.deepEqual([third.status, held.length], [503, 2])
      assert.match(third.body, /overflow/)
      assert.equal((await rig.edge.envoy.logLine({ status: 503 }))['flags'], 'UO')
      for (const end of held) end()
      assert.deepEqual([(await asked[0]!).status, (await asked[1]!).status], [200, 200])
    } finally {
      for (const end of held) end()
      await rig.stop()
      for (const sandbox of sandboxes) await sandbox.stop()
    }
  })

  it('speaks TLS to sandboxes where that is uncommented, with those of the right SPIFFE ID alone', async () => {
    const marker = '      # transport_socket:\n'
    const rig = await startRig((text, certificates) => {
      certificates.workload('envoy', 'spiffe://cluster.local/ns/edge/sa/envoy')
      const from = text.indexOf(marker)
      assert.ok(from > 0)
      return text.slice(0, from) + text.slice(from).replaceAll(/^ {6}# /gm, '      ')
    })
    const { certificates } = rig.edge
    const sandboxes = await Promise.all(
      ['spiffe://cluster.local/ns/sandboxes/sa/s1', 'spiffe://cluster.local/ns/other/sa/s1'].map((id, i) =>
        startUpstream(`sandbox-${i}`, { tls: certificates.server(`sandbox-${i}`, { uri: [id] }) }),
      ),
    )
    try {
      const statuses: number[] = []
      for (const { port } of sandboxes) {
        rig.answering.check = () => allowing(`127.0.0.1:${port}`)
        statuses.push((await request({ port: rig.edge.port, tls: rig.edge.tls(), path })).status)
      }
      assert.deepEqual(statuses, [200, 503])
      assert.deepEqual(
        sandboxes.map(({ received }) => received.length),
        [1, 0],
      )
    } finally {
      await rig.stop()
      for (const sandbox of sandboxes) await sandbox.stop()
    }
  })
})
