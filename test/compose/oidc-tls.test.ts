import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Introspection } from '../../src/adapters/introspection.ts'
import type { Jwks } from '../../src/adapters/jwks.ts'
import { composeValidators } from '../../src/compose/identity.ts'
import { Pool } from '../../src/compose/pool.ts'
import { Deny } from '../../src/core/reasons.ts'
import { load } from '../config/policy-files.ts'
import { present } from '../identity/tokens.ts'
import { testCertificates } from '../support/certificates.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

describe('an issuer over TLS', () => {
  let folder: TemporaryFolder
  let server: Server
  let issuer: string
  const peers: string[] = []

  before(async () => {
    folder = temporaryFolder()
    const certificates = testCertificates(folder.path)
    const { certPem, keyPem } = certificates.server('issuer')
    certificates.workload('edge', 'spiffe://td/ns/a/sa/edge')
    writeFileSync(folder.file('authorities.pem'), certificates.caPem)
    const tls = { cert: certPem, key: keyPem, ca: certificates.caPem, requestCert: true, rejectUnauthorized: false }
    server = createServer(tls, (request, response) => {
      request.resume()
      response.setHeader('content-type', 'application/json')
      if (request.url === '/introspect') {
        peers.push((request.socket as TLSSocket).getPeerCertificate().subjectaltname ?? 'nobody')
        return void response.end(JSON.stringify({ active: true, sub: 'alice', aud: 'edge' }))
      }
      response.end(JSON.stringify({ issuer, jwks_uri: `${issuer}/keys`, introspection_endpoint: `${issuer}/introspect`, keys: [] }))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    issuer = `https://localhost:${(server.address() as AddressInfo).port}`
  })
  after(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    folder.remove()
  })

  const ask = async (jwks: string): Promise<{ verdict: string; keys: string }> => {
    const auth = 'auth: { mtls: { cert: edge.crt, key: edge.key } }'
    writeFileSync(
      folder.file('postern.yaml'),
      `version: 1
listen: { check: { address: unix:/run/postern/check.sock } }
identity:
  - { name: users, type: oidc, issuer: "${issuer}", audience: [edge], jwks: { ${jwks} }, introspection: { client_id: edge, ${auth} } }
routes: []
`,
    )
    const { settings } = await load(folder.file('postern.yaml'))
    const pools = { jwks: new Pool<Jwks>((keys) => keys.close()), introspections: new Pool<Introspection>((asked) => asked.close()) }
    try {
      const [validator] = composeValidators(settings, { ...pools, issuer: undefined })
      assert.ok(validator?.presents === 'bearer')
      const verdict = await validator.identify(present('Bearer opaque', Date.now()))
      const [keys] = pools.jwks.values()
      await keys?.refresh()
      return {
        verdict: verdict instanceof Deny ? verdict.reason : verdict === 'abstain' ? verdict : verdict.subject,
        keys: keys?.condition().reason ?? '',
      }
    } finally {
      await pools.jwks.close()
      await pools.introspections.close()
    }
  }

  it('is trusted by the authorities of the policy, and shown the certificate of the policy', async () => {
    assert.deepEqual(await ask('ca: authorities.pem'), { verdict: 'alice', keys: 'NoUsableKeys' })
    assert.deepEqual(peers, ['URI:spiffe://td/ns/a/sa/edge'])
  })
  it('is told nothing where the system does not trust it', async () => {
    peers.length = 0
    assert.deepEqual(await ask(''), { verdict: 'identity_unavailable', keys: 'DiscoveryFailed' })
    assert.deepEqual(peers, [])
  })
})
