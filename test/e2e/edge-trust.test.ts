import assert from 'node:assert/strict'
import type { Identity } from '../support/certificates.ts'
import { sendRaw } from '../support/raw.ts'
import { type ClientResponse, request } from '../support/request.ts'
import type { Received } from '../support/upstream.ts'
import { gatewayId, routerId, startTwoEdges, type TwoEdges } from './edge-trust-edges.ts'

const policy = `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
identity:
  - name: gateway
    type: edge-trust
    from: ["${gatewayId}"]
    claims_from_headers: { x-user-groups: groups }
    subject_namespace: "edge:"
  - name: behind
    type: edge-trust
    from: ["${gatewayId}"]
    headers: { subject: x-forwarded-client-cert, role: x-none, end_user: x-none, email: x-none }
    subject_namespace: "client:"
roles: { viewer: {}, editor: {} }
routes:
  - { id: any, path: /any, identity: [gateway], claims: [groups, email] }
  - { id: viewers, path: /viewers, identity: [gateway], roles: [viewer] }
  - { id: certificate, path: /certificate, identity: [behind] }
  - { id: public, path: /public, public: true }
`

const received = ({ status, body }: ClientResponse): Received => {
  assert.equal(status, 200, body)
  return JSON.parse(body) as Received
}
const reasonOf = ({ status, body }: ClientResponse): string => `${status} ${(JSON.parse(body) as { reason: string }).reason}`
const claims = ['x-user-id', 'x-user-roles', 'x-user-email', 'x-user-groups']

describe('edge-trust behind a real Envoy that verifies tokens', function () {
  this.timeout(60_000)
  let edges: TwoEdges
  before(async () => {
    edges = await startTwoEdges(policy)
  })
  after(() => edges?.stop())

  const tls = (as?: Identity) => ({
    ca: edges.certificates.caPem,
    servername: 'localhost',
    ...(as && { cert: as.certPem, key: as.keyPem }),
  })
  const byGateway = (path: string, headers: Record<string, string | string[]> = {}, as?: Identity) =>
    request({ port: edges.gateway.port('gateway'), tls: tls(as), path, headers })
  const directly = (path: string, headers: Record<string, string | string[]> = {}, as?: Identity) =>
    request({ port: edges.inner.port('edge'), tls: tls(as), path, headers })
  const bearer = async (over: object = {}) => {
    const token = await edges.users.mint({ sub: 'alice', aud: 'edge', roles: ['viewer', 'editor'], email: 'a@x.example', ...over })
    return { authorization: `Bearer ${token}` }
  }

  it("takes Envoy's claim headers for what they are, lists included", async () => {
    const { headers } = received(await byGateway('/any', await bearer({ groups: ['blue', 'grün'] })))
    assert.equal(headers['x-user-id'], 'alice')
    assert.equal(headers['x-user-roles'], Buffer.from('["viewer","editor"]').toString('base64'), 'what Envoy makes of a list')
    assert.equal(headers['x-postern-subject'], 'edge:alice')
    assert.equal(headers['x-postern-roles'], 'viewer,editor')
    assert.equal(headers['x-postern-issuer'], 'urn:postern:edge-trust:gateway')
    assert.equal(headers['x-postern-workload'], gatewayId)
    assert.equal(headers['x-postern-claim-groups'], 'blue,gr%C3%BCn')
    assert.equal(headers['x-postern-claim-email'], 'a@x.example')
  })
  for (const [what, roles, found] of [
    ['a single role', 'viewer', 'viewer'],
    ['several in one text', 'viewer,editor', 'viewer,editor'],
    ['a list of one', ['viewer'], 'viewer'],
    ['an empty list', [], ''],
    ['a list with a comma in it', ['a,viewer'], 'a%2Cviewer'],
  ] as const) {
    it(`reads ${what}`, async () => {
      const { headers } = received(await byGateway('/any', await bearer({ roles })))
      assert.equal(headers['x-postern-roles'] ?? '', found)
    })
  }
  it('reads lists with characters that base64url would spell in another way', async () => {
    const { headers } = received(await byGateway('/any', await bearer({ groups: ['~~~???>>>', 'ÿÿÿ'] })))
    assert.match(headers['x-user-groups'] ?? '', /[+/]/)
    assert.equal(headers['x-postern-claim-groups'], '~~~???>>>,%C3%BF%C3%BF%C3%BF')
  })
  it('reads subjects that are no ASCII', async () => {
    const { headers } = received(await byGateway('/any', await bearer({ sub: 'jürgen' })))
    assert.equal(headers['x-postern-subject'], 'edge:j%C3%BCrgen')
  })
  it('knows nobody where the gateway verified nothing', async () => {
    assert.equal(reasonOf(await byGateway('/any')), '401 no_credential')
  })
  it('the gateway lets no client write its headers, with a token or without', async () => {
    const spoofed = { 'x-user-id': 'root', 'x-user-roles': 'admin', 'x-user-email': 'r@x.example', 'x-user-groups': 'all' }
    const { headers } = received(await byGateway('/any', { ...spoofed, ...(await bearer({ email: undefined, groups: undefined })) }))
    assert.equal(headers['x-postern-subject'], 'edge:alice')
    assert.equal(headers['x-postern-roles'], 'viewer,editor')
    assert.equal(headers['x-postern-claim-email'], undefined, 'also where the token has no such claim')
    assert.equal(reasonOf(await byGateway('/any', spoofed)), '401 no_credential')
  })
  it('a role that is missing is missing', async () => {
    assert.equal(reasonOf(await byGateway('/viewers', await bearer({ roles: ['editor'] }))), '403 missing_role')
    assert.equal((await byGateway('/viewers', await bearer())).status, 200)
  })

  describe('not from the gateway', () => {
    const spoofed = { 'x-user-id': 'root', 'x-user-roles': 'viewer', 'x-user-email': 'r@x.example', 'x-user-groups': 'all' }
    it('nobody is believed', async () => {
      for (const as of [undefined, edges.router]) assert.equal(reasonOf(await directly('/any', spoofed, as)), '401 no_credential')
    })
    it('no upstream gets the headers, on public routes too, however they are spelled', async () => {
      const underscored = Object.fromEntries(Object.entries(spoofed).map(([name, value]) => [name.replaceAll('-', '_'), value]))
      for (const as of [undefined, edges.router]) {
        for (const headers of [spoofed, underscored, { 'X-User_Id': 'root', 'x_user-roles': 'admin' }]) {
          const { rawHeaders } = received(await directly('/public', headers, as))
          const names = rawHeaders.map(([name]) => name.toLowerCase().replaceAll('_', '-'))
          assert.deepEqual(
            names.filter((name) => claims.includes(name)),
            [],
          )
        }
      }
    })
    it('a certificate of another CA does not get that far', async () => {
      await assert.rejects(async () => {
        const { testCertificates } = await import('../support/certificates.ts')
        const { temporaryFolder } = await import('../support/temporary-folder.ts')
        const folder = temporaryFolder()
        try {
          const forged = testCertificates(folder.path, 'other-ca').workload('gateway', gatewayId)
          return await directly('/any', spoofed, forged)
        } finally {
          folder.remove()
        }
      })
    })
  })

  describe('with the certificate of the gateway', () => {
    it('the headers are believed, and go on to the upstream', async () => {
      const { headers } = received(await directly('/any', { 'x-user-id': 'alice' }, edges.asGateway))
      assert.equal(headers['x-postern-subject'], 'edge:alice')
      assert.equal(headers['x-user-id'], 'alice')
    })
    it('on public routes, where nobody is identified, not even these go on', async () => {
      assert.equal(received(await directly('/public', { 'x-user-id': 'alice' }, edges.asGateway)).headers['x-user-id'], undefined)
    })
    it('two subjects are none', async () => {
      const send = (lines: string) =>
        sendRaw(
          edges.inner.port('edge'),
          `GET /any HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n${lines}\r\n\r\n`,
          tls(edges.asGateway),
        )
      assert.equal(reasonOf(await send('x-user-id: alice\r\nx-user-id: root')), '401 invalid_credential')
      assert.equal(reasonOf(await send('x-user-id: alice\r\nx-user-id: alice')), '401 invalid_credential')
      assert.equal(reasonOf(await send('x-user-id: alice,root')), '401 invalid_credential')
      assert.equal(reasonOf(await send('x-user-id:')), '401 invalid_credential')
      assert.equal((await send('x-user-id: alice')).status, 200)
    })
    it('they never replace a credential that was presented', async () => {
      const answer = await directly('/any', { 'x-user-id': 'alice', authorization: 'Bearer x' }, edges.asGateway)
      assert.equal(reasonOf(answer), '401 no_validator_admitted')
    })
  })

  describe('by the certificate that the gateway saw', () => {
    it('its client is identified', async () => {
      const { headers } = received(await byGateway('/certificate', {}, edges.router))
      assert.equal(headers['x-postern-subject'], `client:${routerId}`)
      assert.equal(headers['x-postern-workload'], gatewayId)
      assert.match(headers['x-forwarded-client-cert'] ?? '', /^Hash=|By=/)
    })
    it('a client without one is nobody', async () => assert.equal(reasonOf(await byGateway('/certificate')), '401 no_credential'))
    it('nobody can write the header', async () => {
      const header = { 'x-forwarded-client-cert': `Hash=1;URI=${routerId}` }
      assert.equal(reasonOf(await byGateway('/certificate', header)), '401 no_credential')
      assert.equal(reasonOf(await directly('/certificate', header)), '401 no_credential')
      assert.equal(reasonOf(await directly('/certificate', header, edges.router)), '401 no_credential')
      assert.equal((await directly('/certificate', header, edges.asGateway)).status, 200)
    })
  })
})
