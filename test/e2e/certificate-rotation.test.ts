import assert from 'node:assert/strict'
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'

const envoyId = 'spiffe://cluster.local/ns/edge/sa/envoy'
const authority = makeAuthority('short-lived')
const lifeMs = 10_000

/** An Envoy that asks over mTLS, with certificates from files that it watches (SDS by path). */
function envoyConfig(folder: TemporaryFolder, port: number): object {
  const type = (name: string) => `type.googleapis.com/envoy.${name}`
  const sds = (name: string) => ({
    name,
    sds_config: { resource_api_version: 'V3', path_config_source: { path: folder.file(`${name}.json`) } },
  })
  const secret = (name: string, what: object): void =>
    writeFileSync(
      folder.file(`${name}.json`),
      JSON.stringify({ resources: [{ '@type': type('extensions.transport_sockets.tls.v3.Secret'), name, ...what }] }),
    )
  const watched_directory = { path: folder.file('envoy') }
  const at = (name: string) => ({ filename: folder.file(`envoy/..data/${name}`) })
  secret('own', { tls_certificate: { certificate_chain: at('tls.crt'), private_key: at('tls.key'), watched_directory } })
  secret('trusted', { validation_context: { trusted_ca: at('ca.crt'), watched_directory } })
  return {
    node: { id: 'edge', cluster: 'edge' },
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    static_resources: {
      listeners: [
        {
          name: 'edge',
          address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
          filter_chains: [
            {
              filters: [
                {
                  name: 'envoy.filters.network.http_connection_manager',
                  typed_config: {
                    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
                    stat_prefix: 'edge',
                    route_config: {
                      virtual_hosts: [
                        { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] },
                      ],
                    },
                    http_filters: [
                      {
                        name: 'envoy.filters.http.ext_authz',
                        typed_config: {
                          '@type': type('extensions.filters.http.ext_authz.v3.ExtAuthz'),
                          transport_api_version: 'V3',
                          // As in envoy/tcp-mtls.yaml: a call that crosses the end of its connection is refused unread, and asked again.
                          grpc_service: {
                            envoy_grpc: { cluster_name: 'postern' },
                            timeout: '2s',
                            retry_policy: { retry_on: 'connect-failure,refused-stream', num_retries: 2 },
                          },
                          status_on_error: { code: 'ServiceUnavailable' },
                        },
                      },
                      { name: 'envoy.filters.http.router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
                    ],
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'postern',
          type: 'STATIC',
          connect_timeout: '1s',
          circuit_breakers: { thresholds: [{ max_retries: 100 }] },
          load_assignment: {
            cluster_name: 'postern',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value: port } } } }] }],
          },
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
          transport_socket: {
            name: 'envoy.transport_sockets.tls',
            typed_config: {
              '@type': type('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
              sni: 'localhost',
              common_tls_context: {
                tls_certificate_sds_secret_configs: [sds('own')],
                validation_context_sds_secret_config: sds('trusted'),
              },
            },
          },
        },
      ],
    },
  }
}

describe('Envoy and Postern with certificates of seconds, under load', function () {
  this.timeout(90_000)
  let folder: TemporaryFolder
  let envoy: RunningEnvoy
  let postern: RunningPostern
  let version = 0
  let timer: NodeJS.Timeout | undefined

  /** Another version of the files of one side, by the swapped link of a Kubernetes Secret. */
  const renew = (side: 'envoy' | 'postern', more: { dns?: string[]; uri?: string[] }): void => {
    const { certificate, key } = issueCertificate(authority, {
      commonName: side,
      ...more,
      notBefore: new Date(Date.now() - 2000),
      notAfter: new Date(Date.now() + lifeMs),
    })
    const name = `..${++version}`
    mkdirSync(folder.file(`${side}/${name}`), { recursive: true })
    for (const [file, text] of [
      ['tls.crt', certificate],
      ['tls.key', key],
      ['ca.crt', authority.certificate],
    ] as const)
      writeFileSync(folder.file(`${side}/${name}/${file}`), text, { mode: 0o600 })
    symlinkSync(name, folder.file(`${side}/..tmp`))
    renameSync(folder.file(`${side}/..tmp`), folder.file(`${side}/..data`))
  }
  const renewBoth = (): void => {
    renew('envoy', { uri: [envoyId] })
    renew('postern', { dns: ['localhost'] })
  }
  before(async () => {
    folder = temporaryFolder()
    renewBoth()
    timer = setInterval(renewBoth, lifeMs / 2)
    const [port = 0] = await freePorts(1)
    const file = (name: string): string => folder.file(`postern/..data/${name}`)
    postern = await startPostern(
      `version: 1
listen:
  check:
    address: "127.0.0.1:${port}"
    tls: { mode: mtls, cert: ${file('tls.crt')}, key: ${file('tls.key')}, ca: ${file('ca.crt')}, allow: ["${envoyId}"] }
state: "memory:"
identity: [{ name: users, type: oidc, issuer: "http://127.0.0.1:1/realm", audience: [router], verified_by: envoy, metadata_key: users }]
routes: [{ id: health, path: /healthz, public: true }]
`,
      { folder },
    )
    envoy = await startEnvoy(envoyConfig(folder, port), 2)
  })
  after(async () => {
    clearInterval(timer)
    await envoy?.stop()
    await postern?.stop()
    folder.remove()
  })

  it('are renewed again and again, connections end before the certificates that they were made with, and no request fails', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 8 })
    const statuses = new Map<number, number>()
    const ask = (): Promise<void> =>
      new Promise((resolve, reject) => {
        const call = request({ agent, host: '127.0.0.1', port: envoy.port('edge'), path: '/healthz' }, (reply) => {
          const { statusCode = 0 } = reply
          statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
          reply.resume().on('end', resolve)
        })
        call.on('error', reject).end()
      })
    let stop = false
    const callers = Array.from({ length: 8 }, async () => {
      while (!stop) {
        await ask()
        await sleep(2)
      }
    })
    await sleep(3.2 * lifeMs)
    stop = true
    await Promise.all(callers)
    agent.destroy()
    const made = /^cluster\.postern\.upstream_cx_total: (\d+)$/m.exec(await envoy.admin('/stats?filter=upstream_cx_total'))?.[1]
    assert.deepEqual([...statuses.keys()], [200], JSON.stringify(Object.fromEntries(statuses)))
    assert.ok((statuses.get(200) ?? 0) > 2000)
    assert.ok(Number(made) >= 4, `${made} connections`)
    const reloads = postern.logs().filter(({ msg }) => msg === 'certificates reloaded')
    assert.ok(reloads.length >= 5, `${reloads.length} reloads`)
    assert.equal(postern.logs().filter(({ msg }) => String(msg).includes('not valid any more')).length, 0)
  })
})
