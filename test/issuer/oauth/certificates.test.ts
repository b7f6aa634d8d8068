import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { certificateNames } from '../../../src/issuer/oauth/certificate.ts'
import { type Identity, testCertificates } from '../../support/certificates.ts'
import { client, openRig, type Rig, withSecret } from './rig.ts'

describe('client authentication by certificate', () => {
  let rig: Rig
  const folder = mkdtempSync(join(tmpdir(), 'postern-oauth-'))
  const certificates = testCertificates(folder)
  const server = certificates.server('server')
  const agent = certificates.workload('agent', 'spiffe://example.org/ns/a/sa/agent', { dns: ['agent.example'] })
  const two = certificates.workload('two', 'x', { uri: ['spiffe://example.org/ns/a/sa/agent', 'spiffe://example.org/ns/a/sa/other'] })

  before(async () => {
    rig = await openRig({ mode: 'mtls', cert: server.cert, key: server.key, ca: certificates.ca, allow: [] })
    rig.clients.set('uri', client('uri', { kind: 'mtls', by: 'san_uri', value: 'spiffe://example.org/ns/a/sa/agent' }))
    rig.clients.set('dns', client('dns', { kind: 'mtls', by: 'san_dns', value: 'Agent.example' }))
    rig.clients.set('dn', client('dn', { kind: 'mtls', by: 'subject_dn', value: 'cn=agent' }))
    rig.clients.set('other', client('other', { kind: 'mtls', by: 'san_uri', value: 'spiffe://example.org/ns/a/sa/other' }))
    rig.clients.set('secret', withSecret('secret', 's'))
  })
  after(async () => {
    await rig.close()
    rmSync(folder, { recursive: true })
  })

  const ask = (form: Record<string, string>, { certPem, keyPem }: Identity) =>
    new Promise<{ status: number | undefined; body: string; hsts: unknown }>((resolve, reject) => {
      const call = request(
        {
          host: 'localhost',
          port: rig.port,
          path: '/token',
          method: 'POST',
          agent: false,
          ca: certificates.caPem,
          cert: certPem,
          key: keyPem,
          headers: { 'content-type': 'application/x-www-form-urlencoded' },
        },
        (answer) => {
          let body = ''
          answer.setEncoding('utf8').on('data', (chunk) => {
            body += chunk
          })
          answer.on('end', () => resolve({ status: answer.statusCode, body, hsts: answer.headers['strict-transport-security'] }))
        },
      )
      call.on('error', reject)
      call.end(new URLSearchParams({ grant_type: 'client_credentials', ...form }).toString())
    })

  for (const id of ['uri', 'dns', 'dn']) {
    it(`takes a client that is registered by its ${id}`, async () => {
      rig.requests.length = 0
      const { status, body, hsts } = await ask({ client_id: id }, agent)
      assert.equal(status, 200, body)
      assert.match(String(hsts), /^max-age=/)
      assert.equal(rig.requests[0]?.proof.certificate, hash('sha256', new X509Certificate(agent.certPem).raw, 'base64url'))
    })
  }
  for (const [what, id, certificate] of [
    ['a certificate of another', 'other', agent],
    ['a certificate that names two workloads', 'uri', two],
    ['the listener’s own', 'dns', server],
    ['a certificate for a client with a secret', 'secret', agent],
  ] as const) {
    it(`refuses ${what}`, async () => {
      const { status, body } = await ask({ client_id: id }, certificate)
      assert.deepEqual([status, JSON.parse(body)], [401, { error: 'invalid_client', error_description: 'client authentication failed' }])
    })
  }
  it('refuses a certificate and a secret at once', async () => {
    assert.equal((await ask({ client_id: 'uri', client_secret: 's' }, agent)).status, 401)
  })
  it('describes itself as such', () => {
    const metadata = rig.metadata() as Record<string, readonly string[]>
    assert.ok(metadata['token_endpoint_auth_methods_supported']?.includes('tls_client_auth'))
    assert.equal(metadata['tls_client_certificate_bound_access_tokens'], true)
  })
})

describe('the subject of a certificate', () => {
  const cases: readonly (readonly [subject: string, dn: string, same: boolean])[] = [
    ['C=US\nO=Example\nCN=agent', 'CN=agent,O=Example,C=US', true],
    ['C=US\nO=Example\nCN=agent', 'cn=agent, o=Example, c=US', true],
    ['C=US\nO=Example\nCN=agent', 'C=US,O=Example,CN=agent', false],
    ['C=US\nO=Example\nCN=agent', 'CN=agent,O=Example', false],
    ['C=US\nO=Example\nCN=agent', 'O=Example,C=US', false],
    ['CN=agent', 'CN=Agent', false],
    ['O=Ex\\, Inc.\nCN=agent', 'CN=agent,O=Ex\\, Inc.', true],
    ['O=Ex\\, Inc.\nCN=agent', 'CN=agent,O=Ex\\2C Inc.', true],
    ['O=Ex\\, Inc.\nCN=agent', 'CN=agent,O=Ex, Inc.', false],
    ['O=Zoë\nCN=a', 'CN=a,O=Zo\\C3\\AB', true],
    ['CN=a + OU=b', 'OU=b+CN=a', true],
    ['CN=a\\0Ab', 'CN=a\\0Ab', true],
    ['CN=a', 'CN=a\nO=b', false],
    ['CN=a', '', false],
    ['CN=a', 'CN=#0401', false],
  ]
  for (const [subject, value, same] of cases) {
    it(`${JSON.stringify(subject)} is ${same ? '' : 'not '}${JSON.stringify(value)}`, () => {
      assert.equal(certificateNames({ subject, subjectAltName: undefined }, { by: 'subject_dn', value }), same)
    })
  }
  it('has no alternative names where they cannot be read to their end', () => {
    const names = (subjectAltName: string, value: string) => certificateNames({ subject: '', subjectAltName }, { by: 'san_dns', value })
    assert.equal(names('DNS:a.example, DNS:b.example', 'b.example'), true)
    assert.equal(names('DNS:"a.example, DNS:b.example"', 'b.example'), false)
    assert.equal(names('DNS:b.example, "', 'b.example'), false)
    assert.equal(names('URI:b.example', 'b.example'), false)
  })
})
