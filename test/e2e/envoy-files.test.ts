import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { decodeJwt } from 'jose'
import { parse, stringify } from 'yaml'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, fixture, startEdge } from '../support/edge.ts'
import { envoyFile, type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import type { EnvoyFileName } from '../support/envoy-document.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { rawRequest, sendRaw, websocketEcho } from '../support/raw.ts'
import { type ClientRequest, type ClientResponse, request, requestHttp2 } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import type { Received } from '../support/upstream.ts'

const sandboxPath = '/v1/sandboxes/s1/run'
const router = 'spiffe://cluster.local/ns/agents/sa/router'

/** What the upstream says that it received. */
const upstreamSaw = (response: ClientResponse): Received => JSON.parse(response.body) as Received
const decisionOf = (response: ClientResponse): string => response.headers['x-postern-decision'] ?? ''
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

describe('the Envoy files', function () {
  this.timeout(30_000)
  describeEdge('envoy.yaml', 'edge.yaml', { tls: true })
  describeEdge('capture.yaml', 'edge-capture.yaml', { tls: true })
  describeEdge('direct.yaml', 'direct.yaml', { tls: true, start: startDirect })
  describeEdge('upstreams.yaml', 'edge.yaml', { tls: true })
  describeEdge('tenants.yaml', 'edge.yaml', { tls: true, start: startTenant })
  describeEdge('tcp-mtls.yaml', 'edge-tcp-mtls.yaml', { tls: true })
  describeEdge('behind-load-balancer.yaml', 'edge.yaml', { tls: false })
  describe('egress.yaml', egress)
  // With the SPIRE agent that it needs it runs in test/spire.
  describe('spire.yaml', withoutAgent)
})

/** One of two tenants, whatever the host: test/realms asks both. */
function startTenant(file: EnvoyFileName, policy: string): Promise<Edge> {
  const [common, own] = tenantOf(policy, 'acme')
  const start = async (filled: string): Promise<RunningPostern> => {
    const folder = temporaryFolder()
    writeFileSync(folder.file('acme.yaml'), own)
    const postern = await startPostern(filled, { folder })
    const stop = () => postern.stop().finally(folder.remove)
    return { ...postern, stop }
  }
  return startEdge(file, common, start, 1, (text) =>
    text
      .replace('domains: ["*"]', 'domains: [nobody.example]')
      .replace('domains: [acme.agents.example]', 'domains: ["*"]')
      .replaceAll('keycloak.example/realms/acme', 'keycloak.example/realms/default'),
  )
}

/** A policy of one realm as two files: what the process has, and what is the realm's. */
function tenantOf(policy: string, realm: string): readonly [common: string, own: string] {
  const { listen, state, identity, ...own } = parse(policy) as Record<string, unknown> & { identity: Record<string, unknown>[] }
  const users = identity.map((entry) => (entry['name'] === 'users' ? { ...entry, metadata_key: `users-${realm}` } : entry))
  return [stringify({ version: 1, realms: [`${realm}.yaml`], listen, state }), stringify({ ...own, realm, identity: users })]
}

/** Where sandboxes are reached directly: the one that these tests ask for is alice's, at the upstream. */
async function startDirect(file: EnvoyFileName, policy: string): Promise<Edge> {
  let address = ''
  const edge = await startEdge(file, policy, (filled, { admin }) => {
    address = admin
    return startPostern(filled, { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } })
  })
  const labels = { 'agentcube.io/owner': 'alice', 'agentcube.io/endpoint': `127.0.0.1:${edge.upstreams.sandbox.port}` }
  const written = await (await adminClient(address)).call('PUT', '/v1/resources/sandbox/s1/labels', labels)
  assert.ok(written.ok)
  return edge
}

/** The files that stand before the platform: what all of them promise, then what TLS adds. */
function describeEdge(file: EnvoyFileName, policy: string, { tls, start = startEdge }: { tls: boolean; start?: typeof startDirect }) {
  describe(file, () => {
    let edge: Edge
    before(async () => {
      edge = await start(file, fixture(policy))
    })
    after(() => edge?.stop())

    const ask = (what: Omit<ClientRequest, 'port'>) => request({ port: edge.port, ...(tls ? { tls: edge.tls() } : {}), ...what })
    const alice = (claims = {}) =>
      edge.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] }, ...claims })

    it('lets a user through, with our headers and a downstream token in place of theirs', async () => {
      const token = await alice({ email: 'alice@example.com' })
      const response = await ask({ path: sandboxPath, headers: { ...bearer(token), 'x-postern-subject': 'bob', 'x-postern-owner': 'bob' } })
      assert.equal(response.status, 200, response.body)
      const { upstream, headers, path } = upstreamSaw(response)
      assert.deepEqual([upstream, path], ['sandbox', sandboxPath])
      assert.equal(headers['x-postern-subject'], 'alice')
      assert.equal(headers['x-postern-roles'], 'sandbox:invoke')
      assert.equal(headers['x-postern-claim-email'], 'alice@example.com')
      assert.equal(headers['x-postern-owner'], undefined)
      assert.notEqual(headers['authorization'], `Bearer ${token}`)
      const downstream = decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length))
      assert.deepEqual([downstream.sub, downstream.aud], ['alice', 'picod'])
      const line = await edge.envoy.logLine({ decision_id: headers['x-postern-decision'] })
      assert.deepEqual(
        [line['decision'], line['reason'], line['route'], line['subject'], line['owner_match'], line['audience'], line['enforced']],
        ['allow', 'ok', 'invoke-sandbox', 'alice', file === 'direct.yaml' ? 'yes' : 'none', 'picod', true],
      )
      assert.equal(typeof line['check_us'], 'number')
      assert.match(String(line['policy']), /^[0-9a-f]{12}$/)
    })

    it('denies a missing role, with the reason in the answer and in the access log', async () => {
      const response = await ask({ method: 'POST', path: '/v1/sandboxes', headers: bearer(await alice()), body: '{}' })
      assert.equal(response.status, 403)
      assert.equal(response.headers['content-type'], 'application/problem+json')
      assert.equal((JSON.parse(response.body) as { reason: string }).reason, 'missing_role')
      const line = await edge.envoy.logLine({ decision_id: decisionOf(response) })
      assert.deepEqual(
        [line['status'], line['decision'], line['reason'], line['route'], line['subject'], line['details']],
        [403, 'deny', 'missing_role', 'create-sandbox', 'alice', 'ext_authz_denied'],
      )
    })

    it('sends each route to its upstream', async () => {
      const token = await alice({ realm_access: { roles: ['sandbox:manage'] } })
      const created = await ask({ method: 'POST', path: '/v1/sandboxes', headers: bearer(token), body: '{"a":1}' })
      assert.deepEqual([upstreamSaw(created).upstream, upstreamSaw(created).body], ['workloadmanager', '{"a":1}'])
      assert.equal((await ask({ path: '/healthz' })).status, 200)
    })

    const rejected: Record<string, [reason: string, token: () => Promise<string> | string | undefined]> = {
      'no credential': ['no_credential', () => undefined],
      'an expired token': ['expired_credential', () => alice({ exp: Math.floor(Date.now() / 1000) - 600 })],
      'a token for another audience': ['invalid_credential', () => alice({ aud: 'other' })],
      'a token of another issuer': ['no_validator_admitted', () => alice({ iss: 'https://elsewhere.example' })],
      'what is no token': ['no_validator_admitted', () => 'abc'],
    }
    for (const [name, [reason, token]] of Object.entries(rejected)) {
      it(`answers 401 ${reason} to ${name}`, async () => {
        const presented = await token()
        const response = await ask({ path: sandboxPath, headers: presented === undefined ? {} : bearer(presented) })
        assert.equal(response.status, 401)
        assert.match(response.headers['www-authenticate'] ?? '', /^Bearer realm="postern"/)
        assert.equal((await edge.envoy.logLine({ decision_id: decisionOf(response) }))['reason'], reason)
      })
    }

    it('asks about paths that no route serves, so that they are in the log', async () => {
      const response = await ask({ path: '/nowhere', headers: bearer(await alice()) })
      assert.equal(response.status, 403)
      assert.equal((await edge.envoy.logLine({ decision_id: decisionOf(response) }))['reason'], 'no_route')
    })

    const hardened: Record<string, readonly string[]> = {
      'an encoded slash': ['GET /v1/sandboxes/s1%2f..%2fs2/run HTTP/1.1', 'Host: a'],
      'an encoded backslash': ['GET /v1/sandboxes/s1%5c/run HTTP/1.1', 'Host: a'],
      'a header with an underscore': [`GET ${sandboxPath} HTTP/1.1`, 'Host: a', 'x_postern_subject: alice'],
    }
    for (const [name, lines] of Object.entries(hardened)) {
      it(`refuses ${name} itself`, async () => {
        const bytes = rawRequest([...lines, `Authorization: Bearer ${await alice()}`, 'Connection: close'])
        const response = await sendRaw(edge.port, bytes, tls ? edge.tls() : undefined)
        assert.equal(response.status, 400)
        assert.equal(decisionOf(response), '', 'Postern should not have been asked')
      })
    }

    it('does not read a token from the query, and does not log it', async () => {
      const token = await alice()
      const response = await ask({ path: `${sandboxPath}?access_token=${token}` })
      assert.equal(response.status, 401)
      const line = await edge.envoy.logLine({ decision_id: decisionOf(response) })
      assert.deepEqual([line['reason'], line['path']], ['no_credential', sandboxPath])
    })

    it('drops what only Envoy may say', async () => {
      const forged = {
        'x-envoy-auth-failure-mode-allowed': 'true',
        'x-envoy-original-path': '/',
        'x-forwarded-client-cert': `URI=${router}`,
      }
      const { headers } = upstreamSaw(await ask({ path: sandboxPath, headers: { ...bearer(await alice()), ...forged } }))
      for (const name of Object.keys(forged)) assert.equal(headers[name], undefined, name)
      assert.equal(headers['x-envoy-internal'], undefined)
    })

    it('passes WebSockets where the route says so, and denies them in plain HTTP', async () => {
      const socket = tls ? edge.tls() : undefined
      const allowed = await websocketEcho(edge.port, socket, sandboxPath, [`Authorization: Bearer ${await alice()}`], 'hello')
      assert.deepEqual([allowed.status, allowed.body], [101, 'hello'])
      const denied = await websocketEcho(edge.port, socket, sandboxPath, [], 'hello')
      assert.equal(denied.status, 401)
    })

    it('denies gRPC and HEAD requests in their own form', async () => {
      const what = { port: edge.port, path: sandboxPath, ...(tls ? { tls: edge.tls() } : {}) }
      const call = { method: 'POST', headers: { 'content-type': 'application/grpc', te: 'trailers' }, body: Buffer.alloc(5) }
      const grpc = await requestHttp2({ ...what, ...call })
      // Envoy makes 200 with grpc-status of it, and the body a grpc-message.
      assert.deepEqual([grpc.status, grpc.headers['grpc-status'], grpc.body], [200, '16', ''])
      assert.match(grpc.headers['grpc-message'] ?? '', /no_credential/)
      const head = await ask({ method: 'HEAD', path: sandboxPath })
      assert.deepEqual([head.status, head.body], [401, ''])
      assert.equal((await edge.envoy.logLine({ decision_id: decisionOf(head) }))['method'], 'HEAD')
    })

    if (tls) describeCertificates(() => edge)
    else {
      it('takes the client’s address from the load balancer, not from the client', async () => {
        // The last address is the one that the load balancer appended; the first is the client's invention.
        await ask({ path: sandboxPath, headers: { 'x-forwarded-for': '198.51.100.1, 203.0.113.7', 'x-request-id': 'from-the-balancer' } })
        await edge.envoy.logLine({ client: '203.0.113.7' })
      })
    }

    // Last: Postern does not come back.
    it('answers 503, and nothing goes through, when Postern is gone', async () => {
      await edge.postern.stop()
      const before = edge.upstreams.workloadmanager.received.length
      const response = await ask({ path: '/healthz' })
      assert.equal(response.status, 503)
      assert.equal(edge.upstreams.workloadmanager.received.length, before)
      assert.equal((await edge.envoy.logLine({ details: 'ext_authz_error' }))['status'], 503)
    })
  })
}

function describeCertificates(edgeOf: () => Edge) {
  const ask = (tls: ReturnType<Edge['tls']>) => request({ port: edgeOf().port, tls, path: sandboxPath })

  it('lets a workload in by its certificate', async () => {
    const { tls, certificates, envoy } = edgeOf()
    const response = await ask(tls(certificates.workload('router', router)))
    assert.equal(response.status, 200, response.body)
    const { headers } = upstreamSaw(response)
    assert.equal(headers['x-postern-workload'], router)
    const line = await envoy.logLine({ decision_id: headers['x-postern-decision'] })
    assert.deepEqual([line['workload'], line['peer']], [router, router])
  })

  it('denies a workload of another trust domain, whose certificate the same CA signed', async () => {
    const { tls, certificates, envoy } = edgeOf()
    const response = await ask(tls(certificates.workload('stranger', 'spiffe://other.domain/ns/agents/sa/router')))
    assert.equal(response.status, 401)
    assert.equal((await envoy.logLine({ decision_id: decisionOf(response) }))['decision'], 'deny')
  })

  it('ends the handshake where the certificate is of another CA', async () => {
    const { certificates, tls } = edgeOf()
    const { certificate, key } = issueCertificate(makeAuthority('Somebody'), { commonName: 'router', uri: [router] })
    await assert.rejects(ask({ ...tls(), ca: certificates.caPem, cert: certificate, key }), { code: 'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA' })
  })
}

function egress() {
  let edge: Edge
  before(async () => {
    edge = await startEdge('egress.yaml', fixture('egress.yaml'))
  })
  after(() => edge?.stop())

  const ask = async (host: string, path: string, roles: string[] | undefined, headers = {}) => {
    const token = roles && (await edge.users.mint({ sub: 'agent-7', aud: 'egress', realm_access: { roles } }))
    return request({ port: edge.port, path, headers: { host, ...(token === undefined ? {} : bearer(token)), ...headers } })
  }

  it('lets a workload call a destination, with a token for that destination', async () => {
    const response = await ask('api.partner.example', '/orders/1', ['agent'])
    assert.equal(response.status, 200, response.body)
    const { upstream, headers } = upstreamSaw(response)
    assert.equal(upstream, 'partner')
    assert.equal(decodeJwt((headers['authorization'] ?? '').slice('Bearer '.length)).aud, 'partner')
    for (const name of ['x-postern-subject', 'x-postern-roles', 'x-forwarded-for', 'x-envoy-external-address'])
      assert.equal(headers[name], undefined, name)
    const line = await edge.envoy.logLine({ decision_id: headers['x-postern-decision'] })
    assert.deepEqual([line['decision'], line['route'], line['subject']], ['allow', 'partner-orders', 'agent-7'])
  })

  it('strips the workload’s own token where the destination gets none', async () => {
    const { upstream, headers } = upstreamSaw(await ask('sandbox.internal', '/run', ['agent']))
    assert.deepEqual([upstream, headers['authorization'], headers['x-postern-subject']], ['sandbox', undefined, 'agent-7'])
  })

  it('denies what the role may not, with the reason in the access log', async () => {
    const response = await ask('api.partner.example', '/orders/1', ['other'])
    assert.equal(response.status, 403)
    assert.equal((await edge.envoy.logLine({ decision_id: decisionOf(response) }))['reason'], 'missing_role')
  })

  it('denies destinations that the policy does not name', async () => {
    const response = await ask('elsewhere.example', '/', ['agent'])
    assert.equal(response.status, 403)
    assert.equal((await edge.envoy.logLine({ decision_id: decisionOf(response) }))['reason'], 'no_route')
  })

  it('answers 401 itself without a good token, and does not ask Postern', async () => {
    for (const headers of [{}, { authorization: 'Bearer abc' }]) {
      const response = await ask('api.partner.example', '/orders/1', undefined, headers)
      assert.equal(response.status, 401)
      assert.equal(decisionOf(response), '')
    }
    assert.match(String((await edge.envoy.logLine({ status: 401 }))['details']), /^jwt_authn_access_denied/)
    assert.equal(
      edge.upstreams.partner.received.every(({ headers }) => headers['authorization'] !== 'Bearer abc'),
      true,
    )
  })

  it('answers 503, and nothing goes out, when Postern is gone', async () => {
    await edge.postern.stop()
    const before = edge.upstreams.partner.received.length
    assert.equal((await ask('api.partner.example', '/orders/1', ['agent'])).status, 503)
    assert.equal(edge.upstreams.partner.received.length, before)
  })
}

function withoutAgent() {
  let envoy: RunningEnvoy
  before(async () => {
    const nobody = join(tmpdir(), 'no-spire-agent.sock')
    envoy = await startEnvoy(
      envoyFile('spire.yaml', {
        'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
        'address: 0.0.0.0, port_value: 10000': 'address: 127.0.0.1, port_value: 0',
        'address: postern, port_value: 9191': 'address: 127.0.0.1, port_value: 1',
        'address: keycloak.example, port_value: 443': 'address: 127.0.0.1, port_value: 1',
        '/run/spire/agent-sockets/spire-agent.sock': nobody,
        'initial_fetch_timeout: 5s': 'initial_fetch_timeout: 1s',
      }),
    )
  })
  after(() => envoy?.stop())

  it('lets nobody in while no agent has told it who it is', async () => {
    const tls = { ca: makeAuthority('Somebody').certificate }
    await assert.rejects(request({ port: envoy.port('edge'), tls, path: '/healthz' }), { code: 'ECONNRESET' })
    assert.deepEqual(envoy.accessLog(), [])
  })
}
