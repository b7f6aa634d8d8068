import assert from 'node:assert/strict'
import type { AllowAnswer, DenyAnswer } from '../../src/core/answer.ts'
import { type DenyReason, denyReasons, httpStatus, rpcCode } from '../../src/core/reasons.ts'
import { adminClient, adminSecret } from '../support/admin.ts'
import { type Answering, startAnswering } from '../support/answering.ts'
import { fixture, startEdge } from '../support/edge.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { startPostern } from '../support/postern.ts'
import { type ClientResponse, request, requestHttp2 } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { type Received, startUpstream, type Upstream } from '../support/upstream.ts'

const denial = (reason: DenyReason): DenyAnswer => ({
  kind: 'deny',
  reason,
  status: httpStatus[reason],
  code: rpcCode[httpStatus[reason]],
  headers: [
    ['x-postern-decision', 'd-1'],
    ['content-type', 'application/problem+json'],
    ['retry-after', '1'],
  ],
  body: JSON.stringify({ reason }),
  metadata: { shared: [{ decision: 'deny', reason }], own: [['decision_id', 'd-1']] },
})
const allow: AllowAnswer = {
  kind: 'allow',
  reason: 'ok',
  mutations: { shared: [], own: [['x-postern-subject', 'alice']], remove: [], removeAlso: [], removeQuery: [] },
  metadata: { shared: [{ decision: 'allow', reason: 'ok' }], own: [] },
}

/** A listener that fails closed and one that fails open, both with another status of their own for errors. */
function bootstrap(socket: string, upstream: number) {
  const type = (name: string) => `type.googleapis.com/${name}`
  const field = (name: string) => `%DYNAMIC_METADATA(envoy.filters.http.ext_authz:${name})%`
  const listener = (name: string, open: boolean) => ({
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type': type('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
              stat_prefix: name,
              access_log: [
                {
                  name: 'envoy.access_loggers.stdout',
                  typed_config: {
                    '@type': type('envoy.extensions.access_loggers.stream.v3.StdoutAccessLog'),
                    log_format: {
                      json_format: {
                        path: '%REQ(:PATH)%',
                        status: '%RESPONSE_CODE%',
                        details: '%RESPONSE_CODE_DETAILS%',
                        flags: '%RESPONSE_FLAGS%',
                        ...{ decision: field('decision'), reason: field('reason'), decision_id: field('decision_id') },
                      },
                    },
                  },
                },
              ],
              http_filters: [
                {
                  name: 'envoy.filters.http.ext_authz',
                  typed_config: {
                    '@type': type('envoy.extensions.filters.http.ext_authz.v3.ExtAuthz'),
                    transport_api_version: 'V3',
                    grpc_service: { envoy_grpc: { cluster_name: 'postern' }, timeout: '1s' },
                    failure_mode_allow: open,
                    failure_mode_allow_header_add: open,
                    status_on_error: { code: 'BadGateway' },
                  },
                },
                { name: 'envoy.filters.http.router', typed_config: { '@type': type('envoy.extensions.filters.http.router.v3.Router') } },
              ],
              route_config: {
                virtual_hosts: [{ name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: 'up' } }] }],
              },
            },
          },
        ],
      },
    ],
  })
  const cluster = (name: string, address: object, more = {}) => ({
    ...{ name, connect_timeout: '1s', load_assignment: { cluster_name: name, endpoints: [{ lb_endpoints: [{ endpoint: { address } }] }] } },
    ...more,
  })
  const options = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions'
  const http2 = {
    typed_extension_protocol_options: { [options]: { '@type': type(options), explicit_http_config: { http2_protocol_options: {} } } },
  }
  return {
    admin: { address: { socket_address: { address: '127.0.0.1', port_value: 0 } } },
    static_resources: {
      listeners: [listener('closed', false), listener('open', true)],
      clusters: [
        cluster('postern', { pipe: { path: socket } }, http2),
        cluster('up', { socket_address: { address: '127.0.0.1', port_value: upstream } }),
      ],
    },
  }
}

describe('errors: error_response, through Envoy', function () {
  this.timeout(30_000)
  const unavailable = denyReasons.filter((reason) => httpStatus[reason] >= 500)

  for (const transport of ['lean', 'grpc-js'] as const) {
    describe(transport, () => {
      let answering: Answering
      let envoy: RunningEnvoy
      let upstream: Upstream
      let stop = async () => {}
      before(async () => {
        const folder = temporaryFolder()
        const stops = createStops(folder.remove)
        stop = stops.stop
        const socket = folder.file('check.sock')
        answering = stops.started(await startAnswering(socket, transport))
        upstream = stops.started(await startUpstream('up'))
        envoy = stops.started(await startEnvoy(bootstrap(socket, upstream.port)))
      })
      after(() => stop())

      const ask = (listener: 'closed' | 'open', path: string, headers = {}): Promise<ClientResponse> =>
        request({ port: envoy.port(listener), path, headers })
      const answer = (reason: DenyReason, asErrors = true): void => {
        answering.check = () => denial(reason)
        answering.outagesAsErrors = asErrors
      }

      it('tells every outage with its own status, headers and body, as an error of the authorizer', async () => {
        assert.ok(unavailable.length >= 6)
        for (const reason of unavailable) {
          answer(reason)
          const response = await ask('closed', `/${reason}`)
          assert.deepEqual(
            [response.status, response.headers['x-postern-decision'], response.headers['content-type'], response.headers['retry-after']],
            [httpStatus[reason], 'd-1', 'application/problem+json', '1'],
          )
          assert.deepEqual(JSON.parse(response.body), { reason })
          const line = await envoy.logLine({ path: `/${reason}` })
          assert.deepEqual([line['status'], line['details'], line['flags']], [httpStatus[reason], 'ext_authz_error', 'UAEX'])
          assert.deepEqual([line['decision'], line['reason'], line['decision_id']], ['deny', reason, 'd-1'])
        }
        assert.match(await envoy.admin('/stats?filter=closed.ext_authz.(error|denied)|ext_authz.error'), /error: [1-9]/)
        assert.deepEqual(upstream.received, [])
      })

      it('tells them as denials where the policy says so', async () => {
        answer('overloaded', false)
        const response = await ask('closed', '/denied')
        assert.deepEqual([response.status, JSON.parse(response.body)], [503, { reason: 'overloaded' }])
        assert.equal((await envoy.logLine({ path: '/denied' }))['details'], 'ext_authz_denied')
        assert.equal((await ask('open', '/denied-open')).status, 503)
        assert.deepEqual(upstream.received, [])
      })

      it('tells every other denial as one, which no listener lets through', async () => {
        for (const reason of denyReasons.filter((one) => !unavailable.includes(one))) {
          answer(reason)
          const response = await ask('open', `/${reason}`)
          assert.deepEqual([response.status, response.body], [httpStatus[reason], JSON.stringify({ reason })])
          assert.equal((await envoy.logLine({ path: `/${reason}` }))['details'], 'ext_authz_denied')
        }
        assert.deepEqual(upstream.received, [])
      })

      it('lets an outage through where Envoy fails open: why lint calls that an error', async () => {
        answer('owner_unavailable')
        const response = await ask('open', '/let-through', { 'x-postern-subject': 'forged' })
        assert.equal(response.status, 200)
        const { headers } = JSON.parse(response.body) as Received
        // Nobody removed what the client made up.
        assert.deepEqual([headers['x-envoy-auth-failure-mode-allowed'], headers['x-postern-subject']], ['true', 'forged'])
        const line = await envoy.logLine({ path: '/let-through' })
        assert.deepEqual([line['decision'], line['reason']], ['deny', 'owner_unavailable'])
      })

      it('changes nothing for what is allowed', async () => {
        answering.check = () => allow
        answering.outagesAsErrors = true
        const response = await ask('closed', '/allowed')
        assert.equal((JSON.parse(response.body) as Received).headers['x-postern-subject'], 'alice')
      })

      it('answers a gRPC client in its own form', async () => {
        answer('exchange_unavailable')
        const response = await requestHttp2({
          port: envoy.port('closed'),
          method: 'POST',
          path: '/grpc',
          headers: { 'content-type': 'application/grpc', te: 'trailers' },
          body: Buffer.alloc(5),
        })
        assert.deepEqual([response.status, response.headers['grpc-status']], [200, '14'])
        assert.equal(response.headers['x-postern-decision'], 'd-1')
      })

      it('still fails closed, with the status of Envoy, where nobody answers', async () => {
        await answering.stop()
        const response = await ask('closed', '/gone')
        assert.deepEqual([response.status, response.headers['x-postern-decision']], [502, undefined])
      })
    })
  }

  it('is what the policy says, and follows it', async () => {
    let address = ''
    const policy = fixture('direct.yaml')
    const told = (how: string) => policy.replace('version: 1\n', `version: 1\nerrors: ${how}\n`)
    let filledIn = ''
    const edge = await startEdge('direct.yaml', told('error_response'), (filled, { admin }) => {
      address = admin
      filledIn = filled
      return startPostern(filled, { env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } })
    })
    try {
      const written = await (await adminClient(address)).call('PUT', '/v1/resources/sandbox/s1/labels', { owner: 'alice' })
      assert.ok(written.ok)
      const token = await edge.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:invoke'] } })
      const details = async (): Promise<unknown> => {
        const headers = { authorization: `Bearer ${token}` }
        const response = await request({ port: edge.port, tls: edge.tls(), path: '/v1/sandboxes/s1/run', headers })
        assert.deepEqual([response.status, (JSON.parse(response.body) as { reason: string }).reason], [503, 'endpoint_unavailable'])
        const line = await edge.envoy.logLine({ decision_id: response.headers['x-postern-decision'] })
        return line['details']
      }
      assert.equal(await details(), 'ext_authz_error')
      edge.postern.rewrite(filledIn.replace('errors: error_response', 'errors: denied'))
      await until('the new policy', async () => (await details()) === 'ext_authz_denied')
    } finally {
      await edge.stop()
    }
  })
})
