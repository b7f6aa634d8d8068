import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { hash, X509Certificate } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { freePorts } from '../support/free-port.ts'
import { type ClientRequest, type ClientResponse, request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { files, type Mesh, type Resource, resources, startMesh, withoutIstio } from './rig.ts'
import type { Answered } from './upstream.ts'

const execute = promisify(execFile)
const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const host = 'edge.example'

describe('A gateway whose configuration istiod makes of deploy/istio', function () {
  this.timeout(120_000)
  let mesh: Mesh
  const ask = (asked: Partial<ClientRequest> & { token?: string } = {}): Promise<ClientResponse> =>
    request({
      port: mesh.port,
      tls: { ca: mesh.certificates.caPem, servername: host },
      path: '/v1/sandboxes',
      ...asked,
      headers: { host, ...asked.headers, ...(asked.token !== undefined && { authorization: `Bearer ${asked.token}` }) },
    })
  const user = (roles: readonly string[], sub = 'alice') => mesh.users.mint({ sub, aud: 'agentcube-router', realm_access: { roles } })
  const reasonOf = ({ body }: ClientResponse): unknown => (JSON.parse(body) as { reason: unknown }).reason

  before(async function () {
    const reason = withoutIstio()
    if (reason !== undefined) return void this.skip()
    mesh = await startMesh()
  })
  after(() => mesh?.stop())

  it('lets a user through, with the downstream token and identity headers that Postern made', async () => {
    const token = await user(['sandbox:manage'])
    const answer = await ask({ method: 'POST', token, headers: { 'x-postern-subject': 'mallory' } })
    assert.equal(answer.status, 200, answer.body)
    const { upstream, caller, headers } = JSON.parse(answer.body) as Answered
    assert.equal(upstream, 'workloadmanager')
    assert.match(caller, /spiffe:\/\/cluster\.local\/ns\/agentcube-system\/sa\/router/)
    assert.equal(headers['x-postern-subject'], 'alice')
    assert.notEqual(headers['authorization'], `Bearer ${token}`)
    const [, payload = ''] = (headers['authorization'] ?? '').split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as Record<string, unknown>
    assert.deepEqual([claims['sub'], claims['aud']], ['alice', 'workloadmanager'])
    const line = await mesh.envoy.logLine({ decision_id: headers['x-postern-decision'] })
    assert.deepEqual([line['decision'], line['reason'], line['route'], line['subject']], ['allow', 'ok', 'create-sandbox', 'alice'])
  })

  it('denies what Postern denies, with its reasons', async () => {
    const cases = [
      [await ask(), 401, 'no_credential'],
      [await ask({ method: 'POST', token: await user(['sandbox:invoke']) }), 403, 'missing_role'],
      [await ask({ path: '/v1/sandboxes/s1/run', token: await user(['sandbox:manage']) }), 403, 'not_owner'],
      [await ask({ path: '/elsewhere', token: await user(['admin']) }), 403, 'no_route'],
      [await ask({ token: 'no-token' }), 401, 'no_validator_admitted'],
      [
        await ask({ token: await mesh.users.mint({ sub: 'alice', aud: 'another', realm_access: { roles: ['admin'] } }) }),
        401,
        'invalid_credential',
      ],
    ] as const
    for (const [answer, status, reason] of cases) assert.deepEqual([answer.status, reasonOf(answer)], [status, reason], answer.body)
  })

  it('serves a public route to everybody', async () => {
    assert.equal((await ask({ path: '/healthz' })).status, 200)
  })

  it('refuses paths and headers that two parsers could read differently', async () => {
    const token = await user(['admin'])
    assert.equal((await ask({ path: '/v1/sandboxes%2fs1', token })).status, 400)
    assert.equal((await ask({ token, headers: { x_postern_subject: 'mallory' } })).status, 400)
  })

  it('tells Postern of the client’s certificate', async () => {
    const { certPem, keyPem } = mesh.certificates.workload('caller', 'spiffe://cluster.local/ns/agents/sa/caller')
    const tls = { ca: mesh.certificates.caPem, servername: host, cert: certPem, key: keyPem }
    const answer = await ask({ tls, token: await user(['sandbox:manage']) })
    assert.equal(answer.status, 200, answer.body)
    assert.equal((JSON.parse(answer.body) as Answered).headers['x-postern-workload'], 'spiffe://cluster.local/ns/agents/sa/caller')
  })

  it('shows Postern that certificate itself: a token that is bound to it is its holder’s alone', async () => {
    const own = mesh.certificates.workload('holder', 'spiffe://cluster.local/ns/agents/sa/holder')
    const other = mesh.certificates.workload('thief', 'spiffe://cluster.local/ns/agents/sa/holder')
    const thumbprint = hash('sha256', new X509Certificate(own.certPem).raw, 'base64url')
    const claims = { sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] } }
    const token = await mesh.users.mint({ ...claims, cnf: { 'x5t#S256': thumbprint } })
    const by = ({ certPem, keyPem }: { certPem: string; keyPem: string }) =>
      ask({ token, tls: { ca: mesh.certificates.caPem, servername: host, cert: certPem, key: keyPem } })
    assert.equal((await by(own)).status, 200)
    for (const answer of [await by(other), await ask({ token })])
      assert.deepEqual([answer.status, reasonOf(answer)], [401, 'invalid_credential'])
  })

  it('hands on nothing that a client made up: identity headers, names of certificates, the word that nobody was asked', async () => {
    const forged = {
      'x-postern-subject': 'mallory',
      'x-postern-roles': 'admin',
      'x-postern-workload': 'spiffe://cluster.local/ns/agents/sa/caller',
      'x-postern-owner': 'mallory',
      'x-postern-claim-team': 'mallory',
      'x-envoy-auth-failure-mode-allowed': 'true',
      'x-forwarded-client-cert': 'Hash=00;URI=spiffe://cluster.local/ns/agents/sa/mallory',
    }
    for (const [path, token] of [
      ['/v1/sandboxes', await user(['sandbox:invoke'])],
      ['/healthz', undefined],
    ] as const) {
      const answer = await ask({ path, ...(token !== undefined && { token }), headers: forged })
      assert.equal(answer.status, 200, answer.body)
      const { headers } = JSON.parse(answer.body) as Answered
      assert.doesNotMatch(JSON.stringify(headers), /mallory|failure-mode-allowed|sa\/caller/)
      assert.notEqual(headers['x-postern-roles'], 'admin')
    }
    // Without a credential they are none.
    assert.equal((await ask({ headers: forged })).status, 401)
  })

  it('tells Postern the realm of the host: another one is served by nobody', async () => {
    const token = await user(['sandbox:invoke'])
    const filter = mesh.resource('envoy-filter.yaml', 'ask-postern')
    const text = JSON.stringify(filter)
    assert.ok(text.includes('"realm":"default"'))
    await mesh.apply(JSON.parse(text.replace('"realm":"default"', '"realm":"elsewhere"')) as Resource)
    const answer = await until('the other realm', async () => {
      const got = await ask({ token })
      return got.status !== 200 && got
    })
    assert.deepEqual([answer.status, reasonOf(answer)], [403, 'no_route'])
    await mesh.apply(filter)
    await until('its own realm again', async () => (await ask({ token })).status === 200)
  })

  it('asks Postern about a port that is opened later, and a host of which no file says a word', async () => {
    const [port = 0] = await freePorts(1)
    const another = 'another.example'
    await mesh.apply({
      apiVersion: 'networking.istio.io/v1',
      kind: 'Gateway',
      metadata: { name: 'another' },
      spec: {
        selector: { 'app.kubernetes.io/name': 'router' },
        servers: [{ port: { number: port, name: 'http', protocol: 'HTTP' }, bind: '127.0.0.1', hosts: [another] }],
      },
    })
    const destination = { host: 'workloadmanager.agentcube-system.svc.cluster.local', port: { number: 8081 } }
    await mesh.apply({
      apiVersion: 'networking.istio.io/v1',
      kind: 'VirtualService',
      metadata: { name: 'another' },
      spec: { hosts: [another], gateways: ['another'], http: [{ route: [{ destination }] }] },
    })
    const plain = (path: string, token?: string) =>
      request({ port, path, headers: { host: another, ...(token !== undefined && { authorization: `Bearer ${token}` }) } })
    await until('the second listener', async () => {
      const got = await plain('/healthz').catch(() => undefined)
      return got?.status === 200
    })
    const answers = [
      await plain('/v1/sandboxes'),
      await plain('/elsewhere', await user(['admin'])),
      await plain('/v1/sandboxes', await user([])),
    ]
    assert.deepEqual(
      answers.map((answer) => [answer.status, reasonOf(answer)]),
      [
        [401, 'no_credential'],
        [403, 'no_route'],
        [403, 'missing_role'],
      ],
    )
    const api = '/apis/networking.istio.io/v1/namespaces/agentcube-system'
    for (const one of ['gateways', 'virtualservices']) await mesh.kubernetes.call('DELETE', `${api}/${one}/another`)
    await until('the second listener to be gone', async () => !(await mesh.envoy.admin('/listeners')).includes(`127.0.0.1:${port}`))
  })

  it('is what `postern lint --envoy` finds no fault in', async () => {
    const folder = temporaryFolder('dump')
    try {
      writeFileSync(folder.file('postern.yaml'), mesh.policy, { mode: 0o600 })
      writeFileSync(folder.file('dump.json'), await mesh.envoy.admin('/config_dump?include_eds'))
      const args = ['lint', '--config', folder.file('postern.yaml'), '--envoy', folder.file('dump.json'), '--json']
      const { stdout } = await execute(process.execPath, [main, ...args], { maxBuffer: 10_000_000 }).catch(
        (error: { stdout: string }) => error,
      )
      const { envoy } = JSON.parse(stdout) as { envoy: { findings: { severity: string; code: string; problem: string }[] } }
      assert.deepEqual(
        envoy.findings.filter(({ severity }) => severity === 'error'),
        [],
      )
      // What is left is Istio's way: docs/guides/istio.md says of each what to know.
      assert.deepEqual([...new Set(envoy.findings.map(({ code }) => code))].sort(), [
        'catch-all-missing',
        'cors-after-ext-authz',
        'upgrade-everywhere',
      ])
    } finally {
      folder.remove()
    }
  })

  it('reaches the keys of Postern’s issuer as a sidecar does that verifies downstream tokens', async () => {
    const edge = mesh.resource('gateway.yaml', 'edge', 'VirtualService')
    const { spec } = edge as unknown as { spec: { http: object[] } }
    const destination = { host: 'postern-api.agentcube-system.svc.cluster.local', port: { number: 9193 } }
    // By a public route, whose path becomes that of the keys.
    const keys = { match: [{ uri: { exact: '/healthz' } }], rewrite: { uri: '/jwks.json' }, route: [{ destination }] }
    await mesh.apply({ ...edge, spec: { ...spec, http: [keys, ...spec.http] } })
    await until('the keys', async () => {
      const { status, body } = await ask({ path: '/healthz' })
      return status === 200 && body.includes('"keys"')
    })
    await mesh.apply(edge)
    await until('the route as before', async () => !(await ask({ path: '/healthz' })).body.includes('"keys"'))
  })

  it('is refused by the upstream’s certificate check where another answers in its place', async () => {
    const rule = resources('destinations.yaml').find(({ metadata }) => metadata.name === 'picod') as Resource
    const other = JSON.parse(JSON.stringify(rule).replace('sa/picod', 'sa/somebody')) as Resource
    const token = await user(['admin'])
    const use = () => ask({ path: '/v1/sandboxes/s1/run', token })
    assert.equal((await use()).status, 200)
    await mesh.apply(other)
    await until('the other name to be demanded', async () => (await use()).status === 503)
    await mesh.apply(rule)
    await until('the right name again', async () => (await use()).status === 200)
  })

  it('answers 401 to everybody where a RequestAuthentication selects the gateway too: it stands after Postern', async () => {
    const token = await user(['sandbox:manage'])
    const selector = { matchLabels: { 'app.kubernetes.io/name': 'router' } }
    const jwksUri = 'https://keycloak.agentcube-system.svc.cluster.local:443/realms/agentcube/protocol/openid-connect/certs'
    const jwtRules = [{ issuer: mesh.users.issuer, audiences: ['agentcube-router'], jwksUri, forwardOriginalToken: true }]
    await mesh.apply({
      apiVersion: 'security.istio.io/v1',
      kind: 'RequestAuthentication',
      metadata: { name: 'users' },
      spec: { selector, jwtRules },
    })
    const answer = await until('Istio’s filter', async () => {
      const got = await ask({ token })
      return got.status !== 200 && got
    })
    assert.equal(answer.status, 401)
    assert.match(answer.body, /Jwt/)
    await mesh.kubernetes.call('DELETE', '/apis/security.istio.io/v1/namespaces/agentcube-system/requestauthentications/users')
    await until('it to be gone', async () => (await ask({ token })).status === 200)
  })

  it('answers 503 while Postern is down', async () => {
    await mesh.postern.stop()
    const answer = await ask({ token: await user(['admin']) })
    assert.equal(answer.status, 503)
  })
})

describe('deploy/istio', () => {
  for (const file of files)
    it(`istioctl finds no fault in ${file}`, async function () {
      const istioctl = process.env['POSTERN_TEST_ISTIOCTL']
      if (istioctl === undefined) return void this.skip()
      this.timeout(30_000)
      await execute(istioctl, ['validate', '-f', fileURLToPath(new URL(`../../deploy/istio/${file}`, import.meta.url))])
    })
})
