import type { Processor } from '../../src/core/processing.ts'
import { startProcessorServer } from '../../src/wire/ext-proc-server.ts'
import { parseListenAddress } from '../../src/wire/listener.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { httpFilters, readEnvoyFile } from '../support/envoy-document.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type Answerer, startUpstream, type Upstream } from '../support/upstream.ts'

/** Envoy with the ext_proc filter of envoy/capture.yaml, a processor of the test's in this process, and one upstream. */
export interface ProcessedEdge {
  readonly port: number
  readonly envoy: RunningEnvoy
  readonly upstream: Upstream
  readonly faults: readonly string[]
  /** Where Envoy asks, for a test that puts something else there. */
  readonly socket: string
  /** Ends the ext_proc server. */
  readonly closeProcessor: () => Promise<void>
  readonly stop: () => Promise<void>
}

export interface ProcessedEdgeOptions {
  readonly processor: Processor
  readonly answer?: Answerer
  /** Replaces settings of the filter. */
  readonly filter?: object
  /** Of an HTTP/2 server that requests go to; absent: the upstream, over HTTP/1.1. */
  readonly http2Port?: number
  readonly budgetMs?: number
  readonly maxOpen?: number
  readonly maxBody?: number
  /** Bytes that Envoy buffers of a response; as in the file unless given. */
  readonly bufferBytes?: number
}

/** What ext_authz would have said. */
export const metadata = {
  decision: 'allow',
  route: 'create-sandbox',
  subject: 'alice',
  decision_id: 'd1',
  roles: ['a', 'b'],
  check_us: 12.5,
}

/** Requests under `/plain` go by a route on which ext_proc is not enabled. */
export async function startProcessedEdge(options: ProcessedEdgeOptions): Promise<ProcessedEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const socket = folder.file('ext-proc.sock')
    const faults: string[] = []
    const { processor, budgetMs, maxOpen, maxBody = 64 * 1024 } = options
    const server = await startProcessorServer({
      listener: { address: parseListenAddress(`unix:${socket}`), tls: { mode: 'none' } },
      processor,
      maxBody,
      onFault: (detail) => faults.push(detail),
      ...(budgetMs === undefined ? {} : { budgetMs }),
      ...(maxOpen === undefined ? {} : { maxOpen }),
    })
    server.serving(true)
    const closeProcessor = (): Promise<void> => server.close(200)
    started({ stop: closeProcessor })
    const upstream = started(await startUpstream('upstream', options.answer ? { answer: options.answer } : {}))
    const envoy = started(await startEnvoy(document(socket, options, upstream.port)))
    return { port: envoy.port('edge'), envoy, upstream, faults, socket, closeProcessor, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function document(socket: string, { filter, http2Port, bufferBytes }: ProcessedEdgeOptions, port: number): object {
  const type = (name: string) => ({ '@type': `type.googleapis.com/envoy.extensions.${name}` })
  const { manager, listener } = readEnvoyFile('capture.yaml')
  const shipped = httpFilters(manager).find(({ name }) => name === 'envoy.filters.http.ext_proc')
  if (!shipped) throw new Error('envoy/capture.yaml was expected to have an ext_proc filter')
  const route = { cluster: 'upstream', timeout: '5s' }
  const authorized = { metadata: [{ metadata_namespace: 'envoy.filters.http.ext_authz', value: metadata }] }
  const cluster = (name: string, address: object, more = {}) => ({
    name,
    type: 'STATIC',
    connect_timeout: '1s',
    load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] },
    ...more,
  })
  const http2 = { ...type('upstreams.http.v3.HttpProtocolOptions'), explicit_http_config: { http2_protocol_options: {} } }
  const overHttp2 = { typed_extension_protocol_options: { 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': http2 } }
  const local = { address: '127.0.0.1', port_value: 0 }
  return {
    admin: { address: { socket_address: local } },
    static_resources: {
      listeners: [
        {
          name: 'edge',
          address: { socket_address: local },
          per_connection_buffer_limit_bytes: bufferBytes ?? listener['per_connection_buffer_limit_bytes'],
          filter_chains: [
            {
              filters: [
                {
                  name: 'envoy.filters.network.http_connection_manager',
                  typed_config: {
                    ...type('filters.network.http_connection_manager.v3.HttpConnectionManager'),
                    stat_prefix: 'edge',
                    access_log: manager['access_log'],
                    http_filters: [
                      { name: 'metadata', typed_config: { ...type('filters.http.set_metadata.v3.Config'), ...authorized } },
                      { ...shipped, typed_config: { ...shipped.typed_config, ...filter } },
                      { name: 'router', typed_config: type('filters.http.router.v3.Router') },
                    ],
                    route_config: {
                      virtual_hosts: [
                        {
                          name: 'all',
                          domains: ['*'],
                          routes: [
                            { match: { prefix: '/plain' }, route },
                            {
                              match: { prefix: '/' },
                              route,
                              typed_per_filter_config: {
                                'envoy.filters.http.ext_proc': { ...type('filters.http.ext_proc.v3.ExtProcPerRoute'), overrides: {} },
                              },
                            },
                          ],
                        },
                      ],
                    },
                  },
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        cluster('upstream', { socket_address: { address: '127.0.0.1', port_value: http2Port ?? port } }, http2Port ? overHttp2 : {}),
        cluster('postern_ext_proc', { pipe: { path: socket } }, overHttp2),
      ],
    },
  }
}
