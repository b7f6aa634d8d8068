import assert from 'node:assert/strict'
import { request } from 'node:https'
import { type Certificates, testCertificates } from '../support/certificates.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'

const basic = { authorization: `Basic ${Buffer.from('backend:sixteen-letters!').toString('base64')}` }

describe('the token service of a running Postern', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  let service: RunningPostern
  let url = ''
  let admin = ''
  const policy = (clients: string): string => `
version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  admin: { address: "${admin}" }
  issuer: { address: "${url.slice('http://'.length)}", url: "${url}" }
state: "memory:"
identity:
  - { name: own, type: postern, audience: postern, subject_namespace: "own:" }
roles: { reader: {} }
issuer: { clients: ${clients} }
routes:
  - { id: read, methods: [GET], path: /data, roles: [reader] }
`
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a reference of the policy file
  const backend = '[{ id: backend, auth: { secret: "${env:BACKEND_SECRET}" }, grants: [client_credentials], audiences: [postern] }]'
  const ask = (form: Record<string, string>, path = '/token') =>
    fetch(url + path, { method: 'POST', headers: basic, body: new URLSearchParams(form) })
  const discovered = async () => (await (await fetch(`${url}/.well-known/oauth-authorization-server`)).json()) as Record<string, unknown>

  before(async () => {
    folder = temporaryFolder()
    const [first, second] = await freePorts(2)
    admin = `127.0.0.1:${first}`
    url = `http://127.0.0.1:${second}`
    service = await startPostern(policy('[]'), { folder, env: { BACKEND_SECRET: 'sixteen-letters!' } })
  })
  after(async () => {
    assert.equal(await service.stop(), 0)
    folder.remove()
  })

  it('is neither named nor served without a client', async () => {
    assert.equal((await ask({ grant_type: 'client_credentials' })).status, 404)
    assert.ok(!('token_endpoint' in (await discovered())))
  })
  it('is there with the first client, and gone with the last, without a restart', async () => {
    service.rewrite(policy(backend))
    await until('the token endpoint is named', async () => 'token_endpoint' in (await discovered()))
    const answer = await ask({ grant_type: 'client_credentials' })
    const { access_token: token } = (await answer.json()) as { access_token: string }
    assert.equal(answer.status, 200)
    assert.match(token, /^ey/)
    const told = (await (await ask({ token }, '/introspect')).json()) as Record<string, unknown>
    assert.deepEqual([told['active'], told['client_id']], [true, 'backend'])
    service.rewrite(policy('[]'))
    await until('the token endpoint is not named', async () => !('token_endpoint' in (await discovered())))
    assert.equal((await ask({ grant_type: 'client_credentials' })).status, 404)
  })
  it('is measured by endpoint', async () => {
    const text = await (await fetch(`http://${admin}/metrics`)).text()
    assert.match(text, /postern_request_duration_seconds_count\{endpoint="POST \/token"\} 1/)
    assert.match(text, /postern_request_duration_seconds_count\{endpoint="POST \/introspect"\} 1/)
  })
  it('tells nothing of who asked in its log', () => {
    assert.ok(!JSON.stringify(service.logs()).includes('sixteen-letters!'))
    assert.deepEqual(
      service.logs().filter(({ where }) => where !== undefined),
      [],
    )
  })
})

describe('the token service behind TLS with client certificates', function () {
  this.timeout(30_000)
  let folder: TemporaryFolder
  let certificates: Certificates
  let service: RunningPostern
  let port = 0

  before(async () => {
    folder = temporaryFolder()
    certificates = testCertificates(folder.path)
    const server = certificates.server('server')
    ;[port = 0] = await freePorts(1)
    service = await startPostern(
      `
version: 1
listen:
  check: { address: "unix:${folder.file('check.sock')}" }
  issuer:
    address: "127.0.0.1:${port}"
    url: "https://localhost:${port}"
    tls: { mode: mtls, cert: "${server.cert}", key: "${server.key}", ca: "${certificates.ca}" }
state: "memory:"
identity:
  - { name: own, type: postern, audience: postern, subject_namespace: "own:" }
roles: { reader: {} }
issuer:
  clients:
    - id: agent
      auth: { mtls: { san_uri: "spiffe://example.org/ns/a/sa/agent" } }
      grants: [client_credentials]
      audiences: [postern]
routes:
  - { id: read, methods: [GET], path: /data, roles: [reader] }
`,
      { folder },
    )
  })
  after(async () => {
    await service.stop()
    folder.remove()
  })

  for (const [id, status] of [
    ['agent', 200],
    ['other', 401],
  ] as const) {
    it(`answers ${status} to the certificate of ${id}`, async () => {
      const { certPem, keyPem } = certificates.workload(id, `spiffe://example.org/ns/a/sa/${id}`)
      const answered = await new Promise<number | undefined>((resolve, reject) => {
        const headers = { 'content-type': 'application/x-www-form-urlencoded' }
        const call = request(
          {
            host: 'localhost',
            port,
            path: '/token',
            method: 'POST',
            agent: false,
            ca: certificates.caPem,
            cert: certPem,
            key: keyPem,
            headers,
          },
          (answer) => {
            answer.resume()
            resolve(answer.statusCode)
          },
        )
        call.on('error', reject)
        call.end('grant_type=client_credentials&client_id=agent')
      })
      assert.equal(answered, status)
    })
  }
})
