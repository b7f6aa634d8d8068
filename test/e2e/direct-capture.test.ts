import assert from 'node:assert/strict'
import { type Edge, fixture, startEdge } from '../support/edge.ts'
import { envoyText } from '../support/envoy-document.ts'
import { startPostern } from '../support/postern.ts'
import { type ClientResponse, request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { type Received, startUpstream, type Upstream } from '../support/upstream.ts'

/** The clusters of envoy/capture.yaml with that of envoy/direct.yaml in the place of `sandbox`, and a workload manager elsewhere. */
function both(text: string, workloadmanager: number): string {
  const direct = envoyText('direct.yaml')
  const cluster = direct.slice(direct.indexOf('    - name: sandboxes\n'))
  const changed = text
    .slice(0, text.indexOf('    - name: sandbox\n'))
    .replace(/(- name: workloadmanager\n[\s\S]*?port_value: )\d+/, `$1${workloadmanager}`)
    .replace('cluster: sandbox\n', 'cluster: sandboxes\n')
  return changed + cluster
}

const policy = (): string =>
  fixture('edge-capture.yaml')
    .replace('roles:\n  sandbox:invoke', 'ownership: { endpoint: { networks: [127.0.0.0/8] } }\nroles:\n  sandbox:invoke')
    .replace('id: ["response.body:/id"] }', 'id: ["response.body:/id"], endpoint: "response.body:/endpoint" }')
    .replace(
      'downstream: { audience: picod },',
      'owner: { resource: sandbox, id: "path:id", direct: true }, downstream: { audience: picod },',
    )

describe('a sandbox that is created through Envoy, and reached directly', function () {
  this.timeout(30_000)
  const stops = createStops(() => {})
  let edge: Edge
  let sandbox: Upstream
  let made = 0
  before(async () => {
    sandbox = stops.started(await startUpstream('the new sandbox'))
    // Knows nothing of Postern: it makes a sandbox, and tells its id and where it is.
    const manager = stops.started(
      await startUpstream('manager', {
        answer: (_, response, { body }) => {
          const { at } = JSON.parse(body) as { at?: string }
          response.writeHead(201, { 'content-type': 'application/json' })
          response.end(JSON.stringify({ id: `new-${++made}`, endpoint: at ?? `127.0.0.1:${sandbox.port}` }))
          return true
        },
      }),
    )
    edge = stops.started(
      await startEdge(
        'capture.yaml',
        policy(),
        (filled) => startPostern(filled),
        1,
        (text) => both(text, manager.port),
      ),
    )
  })
  after(() => stops.stop())

  const ask = async (sub: string, path: string, create?: object): Promise<ClientResponse> => {
    const token = await edge.users.mint({ sub, aud: 'agentcube-router', realm_access: { roles: ['sandbox:manage'] } })
    return request({
      port: edge.port,
      tls: edge.tls(),
      path,
      headers: { authorization: `Bearer ${token}` },
      ...(create ? { method: 'POST', body: JSON.stringify(create) } : {}),
    })
  }
  const create = async (sub: string, what = {}): Promise<string> => {
    const response = await ask(sub, '/v1/sandboxes', what)
    assert.equal(response.status, 201, response.body)
    return (JSON.parse(response.body) as { id: string }).id
  }

  it('is alice’s, and answers her at once; bob gets nowhere', async () => {
    for (let i = 0; i < 5; i++) {
      const id = await create('alice')
      const response = await ask('alice', `/v1/sandboxes/${id}/run`)
      assert.equal(response.status, 200, response.body)
      const { upstream, headers } = JSON.parse(response.body) as Received
      assert.deepEqual(
        [upstream, headers['x-postern-subject'], headers['x-envoy-original-dst-host']],
        ['the new sandbox', 'alice', undefined],
      )
      assert.equal((await ask('bob', `/v1/sandboxes/${id}/run`)).status, 403)
    }
  })

  it('goes nowhere where the upstream told an address outside of the networks', async () => {
    for (const at of ['10.9.9.9:80', 'localhost:80', '']) {
      const id = await create('alice', { at })
      const response = await ask('alice', `/v1/sandboxes/${id}/run`)
      assert.deepEqual([response.status, (JSON.parse(response.body) as { reason: string }).reason], [503, 'endpoint_unavailable'])
    }
  })
})
