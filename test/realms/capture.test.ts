import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { parse, stringify } from 'yaml'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { type Edge, startEdge } from '../support/edge.ts'
import { startPostern } from '../support/postern.ts'
import { request } from '../support/request.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'

const realms = ['acme', 'globex'] as const
type Name = (typeof realms)[number]

const main = `version: 1
realms: ["realm-*.yaml"]
listen:
  check: { address: "@check@" }
  ext_proc: { address: "unix:@folder@/ext-proc.sock" }
  admin: { address: "@admin@" }
  issuer: { address: "@issuer@" }
state: "memory:"
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}" }
`
const tenant = (realm: string): string => `version: 1
realm: ${realm}
roles: { maker: {} }
identity: [{ name: own, type: postern, audience: edge }]
routes:
  - id: create
    methods: [POST]
    path: /v1/sandboxes
    roles: [maker]
    owner: { capture: { resource: sandbox, id: ["response.body:/id"] } }
`

interface Host {
  name: string
  domains: string[]
  typed_per_filter_config: Record<string, unknown>
}

/** A host for each realm, and the upstream that makes sandboxes. */
function changed(text: string, port: number): string {
  const document = parse(text)
  const { route_config } = document.static_resources.listeners[0].filter_chains[0].filters[0].typed_config
  const [host] = route_config.virtual_hosts as Host[]
  route_config.virtual_hosts = realms.map((realm) => ({
    ...host!,
    name: realm,
    domains: [`${realm}.example`],
    typed_per_filter_config: {
      ...host!.typed_per_filter_config,
      'envoy.filters.http.ext_authz': {
        '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
        check_settings: { context_extensions: { realm } },
      },
    },
  }))
  const manager = document.static_resources.clusters.find(({ name }: { name: string }) => name === 'workloadmanager')
  manager.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.port_value = port
  return stringify(document)
}

describe('owners that ext_proc captures in several realms', function () {
  this.timeout(30_000)
  const folder = temporaryFolder()
  let edge: Edge
  let maker: Upstream
  let admin: Record<Name, AdminClient>
  before(async () => {
    maker = await startUpstream('workloadmanager', {
      answer: (_, response) => {
        response.writeHead(201, { 'content-type': 'application/json' }).end('{"id":"s1"}')
        return true
      },
    })
    for (const realm of realms) writeFileSync(folder.file(`realm-${realm}.yaml`), tenant(realm))
    let at = ''
    edge = await startEdge(
      'capture.yaml',
      main,
      (filled, places) => {
        at = places.admin
        return startPostern(filled, { folder, env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } })
      },
      1,
      (text) => changed(text, maker.port),
    )
    admin = { acme: await adminClient(`${at}/realms/acme`), globex: await adminClient(`${at}/realms/globex`) }
  })
  after(async () => {
    await edge?.stop()
    await maker?.stop()
    folder.remove()
  })

  const create = async (realm: Name, subject: string): Promise<number> => {
    const { token } = await admin[realm].mint({ subject, roles: ['maker'] })
    const headers = { host: `${realm}.example`, authorization: `Bearer ${token}` }
    return (
      await request({ port: edge.port, tls: { ...edge.tls(), servername: 'edge.example' }, method: 'POST', path: '/v1/sandboxes', headers })
    ).status
  }
  const labels = async (realm: Name) => (await admin[realm].call('GET', '/v1/resources/sandbox/s1/labels')).text()

  it('stand in the realm of the request alone', async () => {
    assert.equal(await create('acme', 'alice'), 201)
    assert.match(await labels('acme'), /"agentcube.io\/owner":"alice"/)
    assert.doesNotMatch(await labels('globex'), /alice/)
    // The same id in another realm is another resource: nobody takes it over.
    assert.equal(await create('globex', 'bob'), 201)
    assert.match(await labels('globex'), /"agentcube.io\/owner":"bob"/)
    assert.match(await labels('acme'), /"agentcube.io\/owner":"alice"/)
  })
})
