import assert from 'node:assert/strict'
import { createServer, request as forward } from 'node:http'
import type { AddressInfo } from 'node:net'
import { parse } from 'yaml'
import type { Saw } from '../../deploy/upstreams/picod.ts'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { startPostern } from '../support/postern.ts'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { type ClientRequest, type ClientResponse, request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { until } from '../support/until.ts'
import { accountId, mtlsFlags, type Sample, startSample } from './rig.ts'

const policy = `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" }, issuer: { address: "@issuer@" } }
state: "memory:"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
identity:
  - name: users
    type: oidc
    issuer: https://keycloak.example/realms/default
    audience: [agentcube-router]
    verified_by: envoy
    metadata_key: users
    forward: true
    claims: { roles: realm_access.roles }
    subject_namespace: ""
  - { name: agents, type: postern, audience: postern, subject_namespace: "agent:" }
roles: { sandbox:invoke: {}, sandbox:manage: { inherits: [sandbox:invoke] } }
routes:
  - { id: health, path: /healthz, public: true }
  - { id: create, methods: [GET, POST], path: /v1/sandboxes, roles: [sandbox:manage], downstream: { audience: workloadmanager } }
  - { id: invoke, methods: [GET, POST], path: "/v1/sandboxes/{id}/**", roles: [sandbox:invoke], owner: { resource: sandbox, id: "path:id" }, downstream: { audience: picod } }
  - { id: interpret, methods: [GET, POST], path: "/v1/code-interpreters/{id}/**", roles: [sandbox:invoke], owner: { resource: sandbox, id: "path:id" }, downstream: { audience: picod } }
`

/** Stands between Envoy and a sandbox of the \`jwt\` mode, and notes the tokens that pass. */
async function startTap(target: number) {
  const tokens: string[] = []
  const server = createServer((incoming, response) => {
    tokens.push((incoming.headers.authorization ?? '').replace('Bearer ', ''))
    const { method, url: path, headers } = incoming
    incoming.pipe(
      forward({ host: '127.0.0.1', port: target, method, path, headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers)
        answer.pipe(response)
      }),
    )
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const stop = () => {
    server.closeAllConnections()
    server.close()
  }
  return { port: (server.address() as AddressInfo).port, tokens, stop }
}

interface Cluster {
  name: string
  load_assignment: {
    cluster_name: string
    endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { port_value: number } } } }] }]
  }
}
interface Bootstrap {
  static_resources: {
    clusters: Cluster[]
    listeners: [{ filter_chains: [{ filters: [{ typed_config: { route_config: RouteConfig } }] }] }]
  }
}
interface RouteConfig {
  virtual_hosts: [{ routes: { match: object; route?: { cluster: string } }[] }]
}

describe('both ways to the upstream', function () {
  this.timeout(40_000)
  let edge: Edge
  let admin: AdminClient
  let mtls: Sample
  let jwt: Sample
  let manager: Sample
  let tap: Awaited<ReturnType<typeof startTap>>
  const { started, stop } = createStops(() => {})

  before(async function () {
    if (process.env['POSTERN_TEST_ENVOY'] === undefined) this.skip()
    let adminAddress = ''
    edge = started(
      await startEdge(
        'upstreams.yaml',
        policy,
        async (filled, at) => {
          adminAddress = at.admin
          const issuer = ['--issuer', `http://${at.issuer}`]
          const all = [...issuer, '--sandbox', 's1']
          ;[mtls, jwt, manager] = await Promise.all([
            startSample('picod', [...all, ...mtlsFlags(at.folder, 'picod'), '--health', '127.0.0.1:0']),
            startSample('picod', [...all, '--mode', 'jwt']),
            startSample('workloadmanager', [...issuer, '--memory', ...mtlsFlags(at.folder, 'workloadmanager')]),
          ])
          for (const one of [mtls, jwt, manager]) started(one)
          tap = started(await startTap(jwt.port))
          return startPostern(filled, { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } })
        },
        1,
        (text) => {
          const config = parse(text) as Bootstrap
          const { clusters, listeners } = config.static_resources
          const to = (name: string, port: number): void => {
            clusters.find(
              (one) => one.name === name,
            )!.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value = port
          }
          to('picod_mtls', mtls.port)
          to('picod_jwt', tap.port)
          to('workloadmanager', manager.port)
          // Somebody else of the same CA where a sandbox should be; and the choice by a header.
          const impostor = structuredClone(clusters.find(({ name }) => name === 'picod_mtls')!)
          impostor.name = 'impostor'
          clusters.push(impostor)
          to('impostor', manager.port)
          const { routes } = listeners[0].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0]
          const byHeader = { name: 'x-picod-auth-mode', string_match: { exact: 'jwt' } }
          routes.unshift(
            { match: { prefix: '/healthz' }, route: { cluster: 'impostor' } },
            { match: { prefix: '/v1/sandboxes/', headers: [byHeader] }, route: { cluster: 'picod_jwt' } },
          )
          return JSON.stringify(config)
        },
      ),
    )
    admin = await adminClient(adminAddress)
    await admin.setOwner('sandbox', 's1', 'alice')
    await admin.setOwner('sandbox', 's2', 'alice')
    // The samples started before the issuer that they ask for keys.
    const [sandbox, create] = ['/v1/sandboxes/s1/run', '/v1/sandboxes']
    for (const what of [{ path: sandbox }, { path: sandbox, headers: { 'x-picod-auth-mode': 'jwt' } }, { path: create }]) {
      await until(`keys for ${what.path}`, async () => (await ask(what)).status === 200)
    }
  })
  after(() => stop())

  const token = (sub = 'alice') => edge.users.mint({ sub, aud: 'agentcube-router', realm_access: { roles: ['sandbox:manage'] } })
  const ask = async (what: Omit<ClientRequest, 'port' | 'tls'>, sub?: string): Promise<ClientResponse> =>
    request({ port: edge.port, tls: edge.tls(), ...what, headers: { authorization: `Bearer ${await token(sub)}`, ...what.headers } })
  const saw = ({ status, body }: ClientResponse): Saw => {
    assert.equal(status, 200, body)
    return JSON.parse(body) as Saw
  }
  /** A request past Envoy. */
  const direct = (sample: Sample, bearer: string | undefined, account?: string, path = '/v1/sandboxes/s1/run') => {
    const identity = account === undefined ? undefined : edge.certificates.workload(`client-${account}`, accountId(account))
    const tls = identity && {
      ca: edge.certificates.caPem,
      cert: identity.certPem,
      key: identity.keyPem,
      checkServerIdentity: () => undefined,
    }
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
    return request({ port: sample.port, path, headers, ...(tls && { tls }) })
  }

  it('goes with mTLS to sandboxes: the router is proved, and the token says for whom', async () => {
    const { decision, ...seen } = saw(await ask({ method: 'POST', path: '/v1/sandboxes/s1/run', body: 'abc' }))
    assert.deepEqual([seen.subject, seen.resource, seen.workload, seen.bytes], ['alice', 'sandbox:s1', accountId('router'), 3])
    assert.equal((await edge.envoy.logLine({ decision_id: decision }))['upstream'], 'picod_mtls')
  })

  it('goes by the token alone to code interpreters', async () => {
    const { decision, ...seen } = saw(await ask({ path: '/v1/code-interpreters/s1/run' }))
    assert.deepEqual([seen.subject, seen.resource, seen.workload], ['alice', 'sandbox:s1', undefined])
    assert.equal((await edge.envoy.logLine({ decision_id: decision }))['upstream'], 'picod_jwt')
  })

  it('may be chosen by a header too', async () => {
    const seen = saw(await ask({ path: '/v1/sandboxes/s1/run', headers: { 'x-picod-auth-mode': 'jwt' } }))
    assert.deepEqual([seen.subject, seen.workload], ['alice', undefined])
  })

  it('reaches the workload manager, which writes the token’s subject as the owner', async () => {
    const created = await ask({ method: 'POST', path: '/v1/sandboxes', body: '{"id":"s9"}' })
    assert.deepEqual([created.status, JSON.parse(created.body)], [201, { id: 's9', owner: 'alice' }])
    assert.equal(created.headers['location'], '/v1/sandboxes/s9')
    assert.equal((await ask({ method: 'POST', path: '/v1/sandboxes', body: '{"id":"s9"}' }, 'bob')).status, 409)
    assert.deepEqual(JSON.parse((await ask({ path: '/v1/sandboxes' })).body), { items: [{ id: 's9', owner: 'alice' }] })
    assert.deepEqual(JSON.parse((await ask({ path: '/v1/sandboxes' }, 'bob')).body), { items: [] })
    for (const body of ['{"id":"../x"}', '{"id":7}', '{'])
      assert.equal((await ask({ method: 'POST', path: '/v1/sandboxes', body })).status, 400)
  })

  it('ends at a sandbox that the token was not made for, on both ways', async () => {
    // Alice owns s2 too, so Postern lets her; but here the sandbox that answers is s1.
    for (const path of ['/v1/sandboxes/s2/run', '/v1/code-interpreters/s2/run']) {
      const { status, headers } = await ask({ path })
      assert.deepEqual([status, headers['www-authenticate']], [403, 'Bearer realm="picod", error="insufficient_scope"'])
    }
  })

  it('does not take another workload of the same CA for a sandbox', async () => {
    const answer = await request({ port: edge.port, tls: edge.tls(), path: '/healthz' })
    assert.equal(answer.status, 503)
    assert.equal(
      manager.logs().some(({ path }) => path === '/healthz'),
      false,
    )
  })

  describe('past Envoy', () => {
    let real: string
    before(async () => {
      saw(await ask({ path: '/v1/code-interpreters/s1/run' }))
      real = tap.tokens.at(-1) ?? ''
    })

    it('a real token is good where it was made for', async () => {
      assert.equal((await direct(jwt, real)).status, 200)
      assert.equal((await direct(mtls, real, 'router')).status, 200)
    })
    it('mTLS: nobody without a certificate', async () => {
      const tls = { ca: edge.certificates.caPem, checkServerIdentity: () => undefined }
      await assert.rejects(request({ port: mtls.port, tls }), { code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' })
      await assert.rejects(request({ port: mtls.port, headers: { authorization: `Bearer ${real}` } }))
    })
    it('mTLS: no other workload, though its token is good', async () => {
      const { status, headers } = await direct(mtls, real, 'workloadmanager')
      assert.deepEqual([status, headers['www-authenticate']], [403, undefined])
    })
    it('mTLS: not the router itself without a token', async () => {
      assert.equal((await direct(mtls, undefined, 'router')).status, 401)
      assert.equal((await direct(manager, undefined, 'router', '/v1/sandboxes')).status, 401)
    })
    it('no token of a sandbox at the workload manager, nor at another sandbox', async () => {
      assert.equal((await direct(manager, real, 'router', '/v1/sandboxes')).status, 401)
      const other = await startSample('picod', ['--issuer', edgeIssuer(), '--sandbox', 's2', '--mode', 'jwt'])
      assert.equal((await direct(other, real)).status, 403)
      await other.stop()
    })
    it('no token of the caller, and none of our issuer for the edge', async () => {
      assert.equal((await direct(jwt, await token())).status, 401)
      assert.equal((await direct(jwt, (await admin.mint({ subject: 'alice', roles: ['sandbox:invoke'] })).token)).status, 401)
    })
    it('not two Authorization headers', async () => {
      const lines = ['GET /v1/sandboxes/s1/run HTTP/1.1', 'Host: a', `Authorization: Bearer ${real}`, `Authorization: Bearer ${real}`]
      assert.equal((await sendRaw(jwt.port, rawRequest([...lines, 'Connection: close']))).status, 400)
    })
    it('a probe is answered without any of that, and nothing else is', async () => {
      assert.equal((await request({ port: mtls.health, path: '/healthz' })).status, 200)
      assert.equal((await request({ port: mtls.health, path: '/v1/sandboxes/s1/run' })).status, 404)
    })
    it('nothing of a credential is in the log', () => {
      for (const sample of [mtls, jwt, manager]) assert.equal(sample.program.stdout.join('\n').includes('eyJ'), false)
    })
    const edgeIssuer = (): string => (JSON.parse(Buffer.from(real.split('.')[1] ?? '', 'base64url').toString()) as { iss: string }).iss
  })
})
