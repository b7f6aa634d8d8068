import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { testCertificates } from '../support/certificates.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const execute = promisify(execFile)
const path = (name: string): string => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const files = ['gateway', 'routes', 'security', 'backends', 'patch'].map((name) => path(`deploy/envoy-gateway/${name}.yaml`))
const namespace = 'agentcube-system'

/** Every object of a document that has a member, wherever it stands. */
function* having(member: string, json: unknown): Generator<Readonly<Record<string, unknown>>> {
  if (typeof json !== 'object' || json === null) return
  if (member in json) yield json as Record<string, unknown>
  for (const inner of Object.values(json)) yield* having(member, inner)
}

/** What stands in a cluster beside the files: Services and their endpoints, and the Secrets and ConfigMaps that the files name. */
function beside(folder: string): object[] {
  const certificates = testCertificates(folder)
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const own = certificates.server('own', { dns: ['edge.example'] })
  const secret = (name: string) => ({
    ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata: { name, namespace } },
    data: { 'tls.crt': base64(own.certPem), 'tls.key': base64(own.keyPem) },
  })
  const service = (name: string, port: number, at: number) => [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { clusterIP: `10.0.0.${at}`, ports: [{ name: 'p', port, targetPort: port }] },
    },
    {
      ...{ apiVersion: 'discovery.k8s.io/v1', kind: 'EndpointSlice', addressType: 'IPv4', ports: [{ name: 'p', port, protocol: 'TCP' }] },
      metadata: { name: `${name}-1`, namespace, labels: { 'kubernetes.io/service-name': name } },
      endpoints: [{ addresses: ['192.0.2.1'], conditions: { ready: true } }],
    },
  ]
  return [
    secret('edge-tls'),
    secret('router-tls'),
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'workloads-ca', namespace }, data: { 'ca.crt': certificates.caPem } },
    // A route that somebody adds later, of which no file says a word.
    {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'later', namespace },
      spec: {
        parentRefs: [{ name: 'edge' }],
        hostnames: ['edge.example'],
        rules: [{ matches: [{ path: { type: 'PathPrefix', value: '/later' } }], backendRefs: [{ name: 'picod', port: 8082 }] }],
      },
    },
    ...service('postern', 9191, 5),
    ...service('workloadmanager', 8081, 6),
    ...service('picod', 8082, 7),
  ]
}

describe('deploy/envoy-gateway, as Envoy Gateway translates it', function () {
  this.timeout(60_000)
  let translated: unknown
  before(async function () {
    const egctl = process.env['POSTERN_TEST_EGCTL']
    if (egctl === undefined) return void this.skip()
    const folder = temporaryFolder('gateway')
    try {
      const resources = files.flatMap((file) =>
        parseAllDocuments(readFileSync(file, 'utf8')).map((document) => document.toJS() as { kind: string; metadata: object }),
      )
      const placed = resources.map((one) => (one.kind === 'GatewayClass' ? one : { ...one, metadata: { ...one.metadata, namespace } }))
      const input = folder.file('input.yaml')
      writeFileSync(input, [...placed, ...beside(folder.path)].map((one) => JSON.stringify(one)).join('\n---\n'))
      const { stdout } = await execute(egctl, ['x', 'translate', '--to', 'gateway-api,xds', '-o', 'json', '-f', input], {
        maxBuffer: 20_000_000,
      })
      translated = JSON.parse(stdout) as unknown
    } finally {
      folder.remove()
    }
  })

  it('accepts each resource, the patches among them', () => {
    const conditions = [...having('lastTransitionTime', translated)]
    assert.ok(conditions.length > 10)
    assert.deepEqual(
      conditions.filter(({ status, reason }) => status !== 'True' || /Deprecated/.test(String(reason))),
      [],
    )
    // A SecurityPolicy, a ClientTrafficPolicy, an EnvoyPatchPolicy and three BackendTLSPolicies.
    assert.equal([...having('ancestors', translated)].length, 6)
  })

  it('asks Postern by gRPC with the settings that are safe', () => {
    const [filter, ...more] = [...having('grpcService', translated)].filter((one) => String(one['@type']).endsWith('ext_authz.v3.ExtAuthz'))
    assert.deepEqual(more, [])
    assert.equal(JSON.stringify(filter?.['grpcService']).includes('"timeout":"1s"'), true)
    assert.deepEqual(filter?.['statusOnError'], { code: 'ServiceUnavailable' })
    assert.equal(filter?.['includePeerCertificate'], true)
    assert.equal(filter?.['failureModeAllow'] ?? false, false)
    assert.equal(filter?.['clearRouteCache'] ?? false, false)
  })

  it('asks on every route, also on one that no file names, and names the realm', () => {
    const routes = [...having('route', translated)].filter((one) => 'match' in one && String(one['name']).startsWith('httproute/'))
    assert.equal(routes.length, 3)
    for (const route of routes) assert.match(JSON.stringify(route['typedPerFilterConfig']), /"contextExtensions":\{"realm":"default"\}/)
  })

  it('reaches Postern by mTLS, and knows it by its SPIFFE ID', () => {
    const cluster = [...having('transportSocketMatches', translated)].find((one) => String(one['name']).includes('extauth'))
    const text = JSON.stringify(cluster)
    assert.match(text, /spiffe:\/\/cluster\.local\/ns\/agentcube-system\/sa\/postern/)
    assert.match(text, /tlsCertificateSdsSecretConfigs/)
  })

  it('reads a request as Postern does', () => {
    const manager = [...having('pathWithEscapedSlashesAction', translated)][0]
    assert.equal(manager?.['pathWithEscapedSlashesAction'], 'REJECT_REQUEST')
    assert.equal(manager?.['normalizePath'], true)
    assert.equal(manager?.['mergeSlashes'], true)
    assert.match(JSON.stringify(manager), /"headersWithUnderscoresAction":"REJECT_REQUEST"/)
  })

  it('takes certificates that the authority signed, hands on none that a client wrote down, and speaks TLS 1.2 or newer', () => {
    const [tls, ...more] = [...having('commonTlsContext', translated)].filter((one) =>
      String(one['@type']).endsWith('DownstreamTlsContext'),
    )
    assert.deepEqual(more, [])
    const text = JSON.stringify(tls)
    assert.match(text, /"tlsMinimumProtocolVersion":"TLSv1_[23]"|^(?!.*tlsMinimumProtocolVersion)/)
    assert.match(text, /[vV]alidationContext/)
    assert.equal(text.includes('ACCEPT_UNTRUSTED'), false)
    assert.equal(tls?.['requireClientCertificate'] ?? false, false)
    const [manager] = [...having('pathWithEscapedSlashesAction', translated)]
    assert.match(String(manager?.['forwardClientCertDetails'] ?? 'SANITIZE'), /^SANITIZE(_SET)?$/)
  })

  it('logs what was decided', () => {
    const [manager] = [...having('pathWithEscapedSlashesAction', translated)]
    for (const name of ['decision', 'reason', 'decision_id', 'route', 'subject'])
      assert.ok(JSON.stringify(manager?.['accessLog']).includes(`%DYNAMIC_METADATA(envoy.filters.http.ext_authz:${name})%`), name)
  })
})
