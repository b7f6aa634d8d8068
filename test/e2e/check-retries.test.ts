import assert from 'node:assert/strict'
import { createServer, type Http2Server, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { request } from '../support/request.ts'

/** What a retry policy says beside it. */
const unread = { retry_on: 'connect-failure,refused-stream', num_retries: 2 }
const previous = {
  retry_host_predicate: [
    {
      name: 'envoy.retry_host_predicates.previous_hosts',
      typed_config: { '@type': 'type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate' },
    },
  ],
  host_selection_retry_max_attempts: 3,
}
const away = { ...unread, ...previous, retry_back_off: { base_interval: '0.1s', max_interval: '2s' } }

/** One that says yes, to a check and to a request that ext_proc shows it: both answers are a message with an empty first field. */
async function startAnswering(afterMs: number): Promise<{ readonly port: number; readonly stop: () => Promise<void> }> {
  const server: Http2Server = createServer()
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.on('error', () => {})
    session.on('close', () => sessions.delete(session))
  })
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => {})
    stream.once('data', () => {
      void sleep(afterMs).then(() => {
        if (stream.destroyed) return
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
        stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
        stream.end(Buffer.from([0, 0, 0, 0, 2, 0x0a, 0]))
      })
    })
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const stop = (): Promise<void> =>
    new Promise((done) => {
      server.close(() => done())
      for (const session of sessions) session.destroy()
    })
  return { port: (server.address() as AddressInfo).port, stop }
}

/** An Envoy that asks at these ports, one after the other, by the filter of that name. */
function envoyConfig(filter: 'ext_authz' | 'ext_proc', ports: readonly number[], retry: object | undefined): object {
  const type = (name: string) => `type.googleapis.com/envoy.${name}`
  const grpc_service = { envoy_grpc: { cluster_name: 'postern' }, ...(retry && { retry_policy: retry }) }
  const typed_config =
    filter === 'ext_authz'
      ? {
          '@type': type('extensions.filters.http.ext_authz.v3.ExtAuthz'),
          grpc_service: { ...grpc_service, timeout: '2s' },
          status_on_error: { code: 'ServiceUnavailable' },
        }
      : {
          '@type': type('extensions.filters.http.ext_proc.v3.ExternalProcessor'),
          grpc_service,
          message_timeout: '2s',
          processing_mode: { request_header_mode: 'SEND', response_header_mode: 'SKIP' },
          status_on_error: { code: 'ServiceUnavailable' },
        }
  const manager = {
    '@type': type('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
    stat_prefix: 'edge',
    route_config: {
      virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }] }],
    },
    http_filters: [
      { name: `envoy.filters.http.${filter}`, typed_config },
      { name: 'envoy.filters.http.router', typed_config: { '@type': type('extensions.filters.http.router.v3.Router') } },
    ],
  }
  const cluster = {
    name: 'postern',
    type: 'STATIC',
    connect_timeout: '1s',
    circuit_breakers: { thresholds: [{ max_retries: 100 }] },
    load_assignment: {
      cluster_name: 'postern',
      endpoints: [
        { lb_endpoints: ports.map((port_value) => ({ endpoint: { address: { socket_address: { address: '127.0.0.1', port_value } } } })) },
      ],
    },
    typed_extension_protocol_options: {
      'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
        '@type': type('extensions.upstreams.http.v3.HttpProtocolOptions'),
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
  }
  const listener = {
    name: 'edge',
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [{ filters: [{ name: 'envoy.filters.network.http_connection_manager', typed_config: manager }] }],
  }
  return {
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    static_resources: { listeners: [listener], clusters: [cluster] },
  }
}

describe('retries of a real Envoy', function () {
  this.timeout(30_000)
  const statuses = async (envoy: RunningEnvoy, count: number): Promise<number[]> => {
    const found: number[] = []
    for (let i = 0; i < count; i++) found.push((await request({ port: envoy.port('edge') })).status)
    return found
  }

  // Each check is answered after 400 ms, and may take 2 s.
  const short = { ...unread, retry_back_off: { base_interval: '0.1s', max_interval: '0.2s' } }
  const tries: readonly [title: string, retry: object | undefined, status: number, filter?: 'ext_proc'][] = [
    ['a check without retries has its own time', undefined, 200],
    ['a try has the greatest interval, and no more', short, 503],
    ['where it is not said, ten times the first one', { ...unread, retry_back_off: { base_interval: '0.02s' } }, 503],
    [
      'where it is as long as the check, the check has its own time',
      { ...unread, retry_back_off: { base_interval: '0.1s', max_interval: '2s' } },
      200,
    ],
    ['where nothing is said of intervals, so it has', unread, 200],
    ['a stream of ext_proc is not bound by it', short, 200, 'ext_proc'],
  ]
  for (const [title, retry, status, filter = 'ext_authz'] of tries)
    it(title, async () => {
      const postern = await startAnswering(400)
      const envoy = await startEnvoy(envoyConfig(filter, [postern.port], retry))
      try {
        assert.deepEqual(await statuses(envoy, 1), [status])
      } finally {
        await envoy.stop()
        await postern.stop()
      }
    })

  // One of two addresses refuses connections.
  const refused: readonly [title: string, filter: 'ext_authz' | 'ext_proc', retry: object | undefined, failed: boolean][] = [
    ['a check that one replica refuses fails without them', 'ext_authz', undefined, true],
    ['a check that one replica refuses is asked of the other', 'ext_authz', away, false],
    ['a stream of ext_proc that one replica refuses fails without them', 'ext_proc', undefined, true],
    ['a stream of ext_proc that one replica refuses is begun at the other', 'ext_proc', away, false],
  ]
  for (const [title, filter, retry, failed] of refused)
    it(title, async () => {
      const postern = await startAnswering(0)
      const [closed = 0] = await freePorts(1)
      const envoy = await startEnvoy(envoyConfig(filter, [closed, postern.port], retry))
      try {
        const found = await statuses(envoy, 12)
        assert.equal(found.includes(503), failed, String(found))
        assert.ok(found.includes(200), String(found))
      } finally {
        await envoy.stop()
        await postern.stop()
      }
    })
})
