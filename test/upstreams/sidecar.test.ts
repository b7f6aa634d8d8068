import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { startPostern } from '../support/postern.ts'
import { rawRequest, sendRaw } from '../support/raw.ts'
import { request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { accountId } from './rig.ts'

const sidecar = readFileSync(fileURLToPath(new URL('../../deploy/upstreams/sidecar.yaml', import.meta.url)), 'utf8')

const policy = `version: 1
listen:
  check: { address: "@check@" }
  admin: { address: "@admin@" }
  issuer: { address: "@issuer@", url: "https://localhost:9193", tls: { mode: tls, cert: "@folder@/server.crt", key: "@folder@/server.key" } }
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
roles: { sandbox:invoke: {} }
routes:
  - { id: create, methods: [GET], path: /v1/sandboxes, roles: [sandbox:invoke], downstream: { audience: workloadmanager } }
  - { id: invoke, path: "/v1/sandboxes/{id}/**", roles: [sandbox:invoke], owner: { resource: sandbox, id: "path:id" }, downstream: { audience: picod } }
  - { id: whole, path: /healthz, roles: [sandbox:invoke], downstream: { audience: picod } }
`

describe('Envoy beside an upstream', function () {
  this.timeout(40_000)
  let edge: Edge
  let admin: AdminClient
  let envoy: RunningEnvoy
  let app: Upstream
  let good: string
  const { started, stop } = createStops(() => {})

  before(async function () {
    if (process.env['POSTERN_TEST_ENVOY'] === undefined) this.skip()
    let [adminAddress, issuer, folder] = ['', '', '']
    edge = started(
      await startEdge('envoy.yaml', policy, (filled, at) => {
        ;[adminAddress, issuer, folder] = [at.admin, at.issuer, at.folder]
        return startPostern(filled, { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } })
      }),
    )
    admin = await adminClient(adminAddress)
    for (const id of ['s1', 's2']) await admin.setOwner('sandbox', id, 'alice')
    edge.certificates.workload('picod', accountId('picod'))
    app = started(await startUpstream('app'))
    const replaced: Record<string, string> = {
      'address: postern-api.agentcube-system.svc, port_value: 9193': `address: 127.0.0.1, port_value: ${issuer.split(':').at(-1)}`,
      'postern-api.agentcube-system.svc': 'localhost',
      'port_value: 8443': 'port_value: 0',
      'port_value: 8080': 'port_value: 0',
      'port_value: 9901': 'port_value: 0',
      'port_value: 8888': `port_value: ${app.port}`,
      '0.0.0.0, port_value': '127.0.0.1, port_value',
      '/run/spire/certs/svid.pem': `${folder}/picod.crt`,
      '/run/spire/certs/svid_key.pem': `${folder}/picod.key`,
      '/run/spire/certs/svid_bundle.pem': `${folder}/workloads-ca.crt`,
      '/etc/postern/issuer/ca.crt': `${folder}/workloads-ca.crt`,
    }
    let text = sidecar
    for (const [from, to] of Object.entries(replaced)) {
      assert.ok(text.includes(from), from)
      text = text.replaceAll(from, to)
    }
    envoy = started(await startEnvoy(text))
    good = await downstream('/v1/sandboxes/s1/run')
  })
  after(() => stop())

  const userToken = () => edge.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] } })
  /** A token as Postern hands it to the upstream of this path. */
  async function downstream(path: string): Promise<string> {
    const answer = await request({ port: edge.port, tls: edge.tls(), path, headers: { authorization: `Bearer ${await userToken()}` } })
    assert.equal(answer.status, 200, answer.body)
    return ((JSON.parse(answer.body) as { headers: Record<string, string> }).headers['authorization'] ?? '').slice('Bearer '.length)
  }

  const tlsOf = (account: string) => {
    const { certPem: cert, keyPem: key } = edge.certificates.workload(`client-${account}`, accountId(account))
    return { ca: edge.certificates.caPem, cert, key, checkServerIdentity: () => undefined }
  }
  /** Asks the sidecar; `mtls` as this account. */
  const ask = (listener: 'mtls' | 'jwt', token: string | undefined, account = 'router', headers = {}) =>
    request({
      ...{
        port: envoy.port(listener),
        path: '/run',
        headers: { ...(token !== undefined && { authorization: `Bearer ${token}` }), ...headers },
      },
      ...(listener === 'mtls' && { tls: tlsOf(account) }),
    })

  for (const listener of ['mtls', 'jwt'] as const)
    describe(`${listener} listener`, () => {
      it('lets the token of this sandbox through, and says who calls', async () => {
        const { status, body } = await ask(listener, good, 'router', { 'x-caller-subject': 'bob' })
        assert.equal(status, 200, body)
        assert.equal((JSON.parse(body) as { headers: Record<string, string> }).headers['x-caller-subject'], 'alice')
        const line = await envoy.logLine({ status: 200, peer: listener === 'mtls' ? accountId('router') : null })
        assert.deepEqual([line['subject'], line['resource']], ['alice', 'sandbox:s1'])
      })

      const refused: Record<string, [status: number, token: () => Promise<string | undefined>]> = {
        'no token': [401, async () => undefined],
        'a token of the user': [401, userToken],
        'a token for another audience': [403, () => downstream('/v1/sandboxes')],
        'a token for another sandbox of the same owner': [403, () => downstream('/v1/sandboxes/s2/run')],
        'a token for no sandbox': [403, () => downstream('/healthz')],
        'a token for the edge': [403, async () => (await admin.mint({ subject: 'alice', roles: ['sandbox:invoke'] })).token],
        'a changed token': [401, async () => `${good.slice(0, -6)}AAAAAA`],
      }
      for (const [name, [status, token]] of Object.entries(refused))
        it(`refuses ${name}`, async () => {
          const before = app.received.length
          assert.equal((await ask(listener, await token())).status, status)
          assert.equal(app.received.length, before)
        })
    })

  it('takes one Authorization header, of one scheme', async () => {
    const lines = ['GET /run HTTP/1.1', 'Host: a', 'Connection: close']
    const send = async (...more: string[]) => (await sendRaw(envoy.port('jwt'), rawRequest([...lines, ...more]))).status
    assert.equal(await send(`Authorization: Bearer ${good}`), 200)
    assert.notEqual(await send('Authorization: Basic x', `Authorization: Bearer ${good}`), 200)
    assert.notEqual(await send(`Authorization: Basic x, Bearer ${good}`), 200)
  })

  it('refuses another workload of the same CA, though its token is good', async () => {
    const { status } = await ask('mtls', good, 'workloadmanager')
    assert.equal(status, 403)
    await envoy.logLine({ peer: accountId('workloadmanager'), details: 'rbac_access_denied_matched_policy[none]' })
  })

  it('gives no connection without a certificate', async () => {
    const tls = { ca: edge.certificates.caPem, checkServerIdentity: () => undefined }
    await assert.rejects(request({ port: envoy.port('mtls'), tls }), { code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED' })
  })
})
