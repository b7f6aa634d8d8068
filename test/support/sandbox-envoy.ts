import { type Document, parseDocument } from 'yaml'
import { envoyFile } from './envoy.ts'

/** Where the HTTP connection manager of envoy/envoy.yaml stands in it. */
export const manager = ['static_resources', 'listeners', 0, 'filter_chains', 0, 'filters', 0, 'typed_config'] as const

/** envoy/envoy.yaml as a document to be changed further: ports of its own, a test's folder, and one upstream as `sandbox`. */
export const sandboxEnvoy = (folder: string, upstream: number): Document =>
  parseDocument(
    envoyFile('envoy.yaml', {
      'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
      'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0',
      '/etc/envoy/certs': folder,
      '/run/postern/check.sock': `${folder}/check.sock`,
      'port_value: 8082': `port_value: ${upstream}`,
      '/etc/ssl/certs/ca-certificates.crt': `${folder}/workloads-ca.crt`,
    }),
  ) as Document

/** Where jwt_authn stands among its filters. */
export function jwtAuthn(document: Document): number {
  const filters = document.getIn([...manager, 'http_filters']) as { toJSON: () => { name: string }[] }
  return filters.toJSON().findIndex(({ name }) => name === 'envoy.filters.http.jwt_authn')
}
