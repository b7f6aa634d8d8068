import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TLSSocket } from 'node:tls'
import type { ClientAuth } from '../../src/adapters/client-auth.ts'
import { openStsClient } from '../../src/adapters/sts-client.ts'
import type { CertificateTexts } from '../../src/core/certificates.ts'
import type { Principal } from '../../src/core/principal.ts'
import { type Certificates, testCertificates } from '../support/certificates.ts'

const now = 1_800_000_000_000
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
const token = `${encode({ alg: 'ES256' })}.${encode({ sub: 'alice', aud: 'picod', exp: now / 1000 + 60 })}.c2ln`
const principal: Principal = {
  validator: 'users',
  issuer: 'https://idp.example',
  subject: 'alice',
  rawSubject: 'alice',
  roles: [],
  scopes: [],
  claims: { sub: 'alice' },
  issuedAt: 0,
  expiresAt: now / 1000 + 300,
  digest: 'd',
  subjectToken: 's',
}

describe('sts client over TLS', () => {
  let folder: string
  let certificates: Certificates
  let server: Server
  let peers: { name: string; form: URLSearchParams }[]
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'postern-sts-'))
    certificates = testCertificates(folder)
    const { certPem, keyPem } = certificates.server('sts')
    server = createServer(
      { cert: certPem, key: keyPem, ca: certificates.caPem, requestCert: true, rejectUnauthorized: true },
      (request, response) => {
        let body = ''
        request.on('data', (chunk) => {
          body += chunk
        })
        request.on('end', () => {
          peers.push({ name: (request.socket as TLSSocket).getPeerCertificate().subjectaltname ?? '', form: new URLSearchParams(body) })
          response.setHeader('content-type', 'application/json')
          response.end(JSON.stringify({ access_token: token, token_type: 'Bearer' }))
        })
      },
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  beforeEach(() => {
    peers = []
  })
  after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    rmSync(folder, { recursive: true, force: true })
  })
  const exchange = async (auth: ClientAuth, tls?: CertificateTexts): Promise<string> => {
    const client = openStsClient({
      name: 'kc',
      tokenEndpoint: `https://localhost:${(server.address() as AddressInfo).port}/token`,
      clientId: 'router',
      auth,
      allowOpaque: false,
      subjectsOf: 'users',
      tls: tls && (() => tls),
    })
    try {
      return (await client.exchange({ principal, audience: 'picod', scope: [], ttl: 60, now })).kind
    } finally {
      client.close()
    }
  }

  it('shows its certificate', async () => {
    const { certPem, keyPem } = certificates.workload('router', 'spiffe://td/ns/a/sa/router')
    assert.equal(await exchange({ method: 'mtls' }, { cert: certPem, key: keyPem, ca: certificates.caPem }), 'token')
    assert.match(peers[0]!.name, /spiffe:\/\/td\/ns\/a\/sa\/router/)
    assert.equal(peers[0]!.form.get('client_id'), 'router')
  })
  it('has nothing to say to a server that it cannot trust', async () => {
    const { certPem, keyPem } = certificates.workload('other', 'spiffe://td/ns/a/sa/other')
    assert.equal(await exchange({ method: 'mtls' }, { cert: certPem, key: keyPem }), 'unavailable')
    assert.equal(peers.length, 0)
  })
  it('is unavailable to one that demands a certificate it has not', async () => {
    assert.equal(await exchange({ method: 'secret', secret: () => 's' }, { ca: certificates.caPem }), 'unavailable')
  })
})
