import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { sendRaw } from '../support/raw.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type Received, startUpstream, type Upstream } from '../support/upstream.ts'
import { type ClientsEdge, startClientsEdge } from './denials-edge.ts'

const policy = (secret: string) => `version: 1
listen: { check: { address: "@check@" }, admin: { address: "@admin@" } }
state: "memory:"
identity:
  - name: gateway
    type: edge-trust
    proof: { header: x-edge-proof, secret: "\${file:${secret}}" }
    claims_from_headers: { x-user-groups: groups }
routes:
  - { id: any, path: /any }
  - { id: public, path: /public, public: true }
`

const received = ({ status, body }: ClientResponse): Received => {
  assert.equal(status, 200, body)
  return JSON.parse(body) as Received
}
const reasonOf = ({ status, body }: ClientResponse): string => `${status} ${(JSON.parse(body) as { reason: string }).reason}`

describe('edge-trust for an edge without mTLS, through Envoy', function () {
  this.timeout(30_000)
  const folder = temporaryFolder()
  const proof = randomBytes(32).toString('hex')
  let upstream: Upstream
  let edge: ClientsEdge
  before(async () => {
    writeFileSync(folder.file('proof'), proof, { mode: 0o600 })
    upstream = await startUpstream('upstream')
    edge = await startClientsEdge(policy(folder.file('proof')), upstream.port)
  })
  after(async () => {
    await edge?.stop()
    await upstream?.stop()
    folder.remove()
  })
  const ask = (path: string, headers: Record<string, string> = {}) => request({ port: edge.port, path, headers })
  const claims = { 'x-user-id': 'alice', 'x-user-roles': 'viewer', 'x-user-groups': 'blue' }
  const leftOf = ({ rawHeaders }: Received): string[] =>
    rawHeaders
      .map(([name]) => name.toLowerCase().replaceAll('_', '-'))
      .filter((name) => name.startsWith('x-user') || name === 'x-edge-proof')

  it('believes its headers with the proof, which goes no further', async () => {
    const seen = received(await ask('/any', { ...claims, 'x-edge-proof': proof }))
    assert.equal(seen.headers['x-postern-subject'], 'alice')
    assert.deepEqual(leftOf(seen).sort(), ['x-user-groups', 'x-user-id', 'x-user-roles'])
  })
  for (const [what, shown] of [
    ['no proof', undefined],
    ['another one', 'x'.repeat(64)],
    ['a part of it', proof.slice(0, -1)],
    ['more than it', `${proof}x`],
    ['another case', proof.toUpperCase()],
    ['an empty one', ''],
  ] as const) {
    it(`believes nobody with ${what}, and hands on neither`, async () => {
      const headers = { ...claims, ...(shown !== undefined && { 'x-edge-proof': shown }) }
      assert.equal(reasonOf(await ask('/any', headers)), '401 no_credential')
      assert.deepEqual(leftOf(received(await ask('/public', headers))), [])
    })
  }
  it('believes nobody who sends a proof twice, and a good one among them', async () => {
    const lines = `GET /any HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-user-id: root\r\nx-edge-proof: x\r\nx-edge-proof: ${proof}\r\n\r\n`
    assert.equal(reasonOf(await sendRaw(edge.port, lines)), '401 no_credential')
  })
})
