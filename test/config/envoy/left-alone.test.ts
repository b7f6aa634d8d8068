import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { factsOf, fixturePath, found, lintText } from './fixtures.ts'

const good = readFileSync(fixturePath('good/bootstrap.yaml'), 'utf8')
const gateway = readFileSync(fixturePath('good/envoy-gateway.yaml'), 'utf8')

/** Changes one place; it must be there. */
function changed(text: string, from: string, to: string): string {
  assert.equal(text.split(from).length, 2, `${JSON.stringify(from)} was expected once`)
  return text.replace(from, to)
}

const authz = '                      failure_mode_allow: false\n'
const router = '                  - name: envoy.filters.http.router\n'
const pipe = '{ pipe: { path: /run/postern/check.sock } }'
const listeners = '  clusters:\n    - name: postern\n'
const another = (address: string, route: string): string => `    - name: another
      address: { socket_address: { address: ${address}, port_value: 10080 } }
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: another
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
                route_config:
                  virtual_hosts: [{ name: all, domains: ["*"], routes: [{ match: { prefix: / }, ${route} }] }]
${listeners}`

const tries = (
  [
    ['longer than the check where nothing is said', ''],
    ['as long as the check', ', retry_back_off: { base_interval: 0.1s, max_interval: 1s }'],
    ['as long as the check by their first interval', ', retry_back_off: { base_interval: 0.1s }'],
  ] as const
).map(([last, backOff]): [name: string, text: string] => {
  const timeout = '                        timeout: 1s\n'
  const policy = `                        retry_policy: { retry_on: "connect-failure,refused-stream"${backOff} }\n`
  return [`tries that last ${last}`, changed(good, timeout, timeout + policy)]
})

/** What looks like a fault and is none. */
const cases: readonly [name: string, text: string][] = [
  [
    'headers with underscores dropped',
    changed(good, 'headers_with_underscores_action: REJECT_REQUEST', 'headers_with_underscores_action: DROP_HEADER'),
  ],
  [
    'a processor after the decision that sees answers alone',
    changed(
      good,
      router,
      `                  - name: envoy.filters.http.ext_proc
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
                      grpc_service: { envoy_grpc: { cluster_name: postern } }
                      processing_mode: { request_header_mode: SKIP, response_header_mode: SEND }
${router}`,
    ),
  ],
  [
    'a filter after the decision that changes nothing',
    changed(
      good,
      router,
      `                  - name: envoy.filters.http.local_ratelimit
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, stat_prefix: x }
${router}`,
    ),
  ],
  [
    'a script before the decision',
    changed(
      good,
      '                  - name: envoy.filters.http.cors\n',
      `                  - name: envoy.filters.http.lua
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua }
                  - name: envoy.filters.http.cors
`,
    ),
  ],
  [
    'a filter that is off for some, and denies these',
    changed(
      good,
      authz,
      `${authz}                      filter_enabled: { default_value: { numerator: 50 } }
                      deny_at_disable: { default_value: true, runtime_key: postern.deny }
`,
    ),
  ],
  [
    'a filter that is on for a million in a million',
    changed(good, authz, `${authz}                      filter_enabled: { default_value: { numerator: 1000000, denominator: MILLION } }\n`),
  ],
  [
    'mutation rules that fail loudly',
    changed(good, authz, `${authz}                      decoder_header_mutation_rules: { disallow_is_error: true }\n`),
  ],
  [
    'all headers, by name',
    changed(good, authz, `${authz}                      allowed_headers: { patterns: [{ safe_regex: { regex: ".*" } }] }\n`),
  ],
  [
    'headers hidden that nobody reads',
    changed(good, authz, `${authz}                      disallowed_headers: { patterns: [{ exact: x-b3-traceid }] }\n`),
  ],
  ['another status for outages', changed(good, 'code: ServiceUnavailable', 'code: BadGateway')],
  ...tries,
  ['Postern over loopback', changed(good, pipe, '{ socket_address: { address: 127.0.0.1, port_value: 9191 } }')],
  ['a listener that only redirects', changed(good, listeners, another('0.0.0.0', 'redirect: { https_redirect: true }'))],
  ['a listener on loopback', changed(good, listeners, another('127.0.0.1', 'route: { cluster: sandbox }'))],
  [
    'a host with and without its port',
    changed(
      changed(good, '                  ignore_port_in_host_matching: true\n', ''),
      'domains: [console.example]',
      'domains: [console.example, "console.example:*"]',
    ),
  ],
  [
    'a route that says more to Postern',
    changed(
      good,
      '                        - name: sandboxes\n',
      `                        - name: sandboxes
                          typed_per_filter_config:
                            envoy.filters.http.ext_authz:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute
                              check_settings: { context_extensions: { plan: gold }, disable_request_body_buffering: true }
`,
    ),
  ],
  [
    'a header of its own on a route',
    changed(
      good,
      '                        - name: sandboxes\n',
      '                        - name: sandboxes\n                          request_headers_to_add: [{ header: { key: x-tier, value: gold } }]\n',
    ),
  ],
  [
    'requirements by name',
    changed(
      changed(
        good,
        '                      rules:\n',
        '                      requirement_map: { users: { requires_any: { requirements: [{ provider_name: users }, { allow_missing_or_failed: {} }] } } }\n                      rules:\n',
      ),
      '                          requires: { requires_any: { requirements: [{ provider_name: users }, { allow_missing_or_failed: {} }] } }\n',
      '                          requirement_name: users\n',
    ),
  ],
  [
    'a policy of a route that is merged into that of its Gateway',
    `${gateway}---
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: SecurityPolicy
metadata: { name: console-cors, namespace: agents }
spec:
  mergeType: StrategicMerge
  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: console }]
  cors: { allowOrigins: ["https://console.example"] }
`,
  ],
]

describe('lint of Envoy configurations leaves alone', () => {
  for (const [name, text] of cases) {
    it(name, () => {
      const linted = lintText(text)
      assert.deepEqual([linted.faults, found(linted)], [[], []])
    })
  }

  it('escaped slashes that a route of the policy takes', async () => {
    const kept = changed(good, 'path_with_escaped_slashes_action: REJECT_REQUEST', 'path_with_escaped_slashes_action: KEEP_UNCHANGED')
    assert.deepEqual(found(lintText(kept, await factsOf('policies/encoded-slash.yaml'))), [])
  })

  it('a header of proxies that an edge-trust validator reads', async () => {
    const appended = changed(good, 'forward_client_cert_details: SANITIZE_SET', 'forward_client_cert_details: APPEND_FORWARD')
    assert.deepEqual(found(lintText(appended, await factsOf('policies/client-certificate-header.yaml'))), [])
  })
})
