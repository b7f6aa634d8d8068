import assert from 'node:assert/strict'
import { parse } from 'yaml'
import { type EnvoyFileName, httpFilters, readEnvoyFile } from '../support/envoy-document.ts'

const files: readonly EnvoyFileName[] = [
  'envoy.yaml',
  'direct.yaml',
  'upstreams.yaml',
  'tcp-mtls.yaml',
  'tenants.yaml',
  'spire.yaml',
  'behind-load-balancer.yaml',
  'egress.yaml',
]

describe('the settings of the Envoy files', () => {
  for (const file of files) {
    describe(file, () => {
      const { text, manager } = readEnvoyFile(file)
      const filters = httpFilters(manager)

      it('asks Postern last, and takes no answer for a denial', () => {
        assert.deepEqual(filters.map(({ name }) => name.replace('envoy.filters.http.', '')).slice(-3), ['jwt_authn', 'ext_authz', 'router'])
        const { typed_config: authz } = filters.at(-2)!
        assert.equal(authz['failure_mode_allow'], false)
        assert.deepEqual(authz['status_on_error'], { code: 'ServiceUnavailable' })
        assert.equal(authz['clear_route_cache'], false)
        assert.equal(authz['with_request_body'], undefined)
        assert.deepEqual(authz['metadata_context_namespaces'], ['envoy.filters.http.jwt_authn'])
      })

      it('checks issuer, audience and expiry, and reads tokens from one place', () => {
        const providers = Object.values(filters.at(-3)!.typed_config['providers'] as Record<string, Record<string, unknown>>)
        assert.equal(providers.length, file === 'tenants.yaml' ? 2 : 1)
        for (const provider of providers) {
          assert.ok(provider['issuer'] && (provider['audiences'] as string[]).length > 0)
          assert.equal(provider['require_expiration'], true)
          assert.deepEqual(provider['from_headers'], [{ name: 'Authorization', value_prefix: 'Bearer ' }])
          assert.equal(provider['from_params'], undefined)
        }
      })

      it('has no hole', () => {
        const settings = JSON.stringify(parse(text))
        // What names the tenant says nothing else.
        const named = settings.replace(
          /\{"@type":"[^"]*ExtAuthzPerRoute","check_settings":\{"context_extensions":\{"realm":"[a-z]+"\}\}\}/g,
          '',
        )
        assert.equal(named !== settings, file === 'tenants.yaml')
        for (const hole of ['ACCEPT_UNTRUSTED', 'ExtAuthzPerRoute', 'extract_only_without_validation', 'failure_mode_allow_header_add'])
          assert.equal(named.includes(hole), false, hole)
        assert.equal(/^\s*disabled:/m.test(text), false)
      })

      it('ends every virtual host, or the hosts, with a route for all, since Envoy asks nobody where there is no route', () => {
        const hosts = (manager['route_config'] as { virtual_hosts: { domains: string[]; routes: { match: { prefix?: string } }[] }[] })
          .virtual_hosts
        assert.deepEqual(hosts.at(-1)?.domains, ['*'])
        for (const { routes } of hosts) assert.equal(routes.at(-1)?.match.prefix, '/')
      })
    })
  }

  it('tcp-mtls.yaml has the listener of envoy.yaml', () => {
    assert.deepEqual(readEnvoyFile('tcp-mtls.yaml').listener, readEnvoyFile('envoy.yaml').listener)
  })

  it('all have the same hardening, and log the same of a decision', () => {
    const of = ({ manager }: ReturnType<typeof readEnvoyFile>) => {
      const log = JSON.stringify(manager['access_log']).match(/envoy\.filters\.http\.ext_authz:\w+/g)
      const kept = [
        'normalize_path',
        'merge_slashes',
        'path_with_escaped_slashes_action',
        'common_http_protocol_options',
        'max_request_headers_kb',
      ]
      kept.push(
        'internal_address_config',
        'forward_client_cert_details',
        'request_headers_timeout',
        'http2_protocol_options',
        'upgrade_configs',
      )
      return [log, ...kept.map((name) => manager[name] ?? assert.fail(`${name} is absent`))]
    }
    for (const file of files.slice(1)) assert.deepEqual(of(readEnvoyFile(file)), of(readEnvoyFile('envoy.yaml')), file)
  })
})
