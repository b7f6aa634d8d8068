import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'
import { type RunningKubernetes, startKubernetes } from '../federation/real/kubernetes.ts'
import { type Certificates, type Identity, testCertificates } from '../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type Program, startProgram } from '../support/program.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { startAgent } from './agent.ts'
import { gatewayBootstrap } from './bootstrap.ts'
import { serviceEntries } from './service-entries.ts'
import { startUpstream } from './upstream.ts'

const namespace = 'agentcube-system'
const path = (name: string): string => fileURLToPath(new URL(`../../deploy/istio/${name}`, import.meta.url))

export type Resource = Readonly<Record<string, unknown>> & {
  readonly kind: string
  readonly apiVersion: string
  readonly metadata: { readonly name: string }
}

/** The resources of deploy/istio that istiod reads. */
export const files = ['gateway.yaml', 'authentication.yaml', 'authorization.yaml', 'destinations.yaml', 'envoy-filter.yaml'] as const

/** Why the tests with a real istiod do not run; undefined: they do. */
export const withoutIstio = (): string | undefined => {
  const missing = (
    ['POSTERN_TEST_ISTIOD', 'POSTERN_TEST_ISTIO_CRDS', 'POSTERN_TEST_KUBERNETES', 'POSTERN_TEST_ETCD', 'POSTERN_TEST_ENVOY'] as const
  ).find((name) => process.env[name] === undefined)
  return missing && `${missing} is not set: run these tests with \`npm test -- istio\``
}

export interface Mesh {
  /** The gateway, whose listeners, routes and clusters are istiod's. */
  readonly envoy: RunningEnvoy
  readonly port: number
  readonly postern: RunningPostern
  readonly policy: string
  readonly users: OidcIssuer
  readonly certificates: Certificates
  readonly kubernetes: RunningKubernetes
  readonly istiod: Program
  /** Creates or replaces a resource of Istio's in the API server. */
  readonly apply: (resource: Resource) => Promise<void>
  /** One of deploy/istio, as it was applied. */
  readonly resource: (file: string, name: string, kind?: string) => Resource
  readonly stop: () => Promise<void>
}

/** Reads the resources of a file, with what this test has other places for. */
export function resources(name: string, replacements: Readonly<Record<string, string>> = {}): Resource[] {
  let text = readFileSync(path(name), 'utf8')
  for (const [from, to] of Object.entries(replacements)) text = text.replaceAll(from, to)
  return parseAllDocuments(text).map((document) => document.toJS() as Resource)
}

const plural = ({ kind }: Resource): string => `${kind.replace(/([^a])y$/, '$1ie')}s`.toLowerCase()

/** deploy/istio in a real API server, istiod that reads it there, Envoy that asks istiod for everything, and what stands around it. */
export async function startMesh(): Promise<Mesh> {
  const folder = temporaryFolder('istio')
  const { started, stop } = createStops(folder.remove)
  try {
    const kubernetes = started(await startKubernetes())
    // All certificates are of one authority, the mesh's.
    const certificates = testCertificates(folder.path, 'ca')
    certificates.server('tls', { dns: ['edge.example'] })
    const workload = (account: string) => certificates.server(account, { uri: [`spiffe://cluster.local/ns/${namespace}/sa/${account}`] })
    const agent = started(await startAgent({ ...workload('router'), ca: certificates.ca }))
    const upstreams = {
      workloadmanager: started(await startUpstream('workloadmanager', workload('workloadmanager'), certificates)),
      picod: started(await startUpstream('picod', workload('picod'), certificates)),
    }
    const keycloak = certificates.server('keycloak', { dns: ['keycloak.agentcube-system.svc.cluster.local'] })
    const issuer = 'https://keycloak.example/realms/agentcube'
    const users = started(await startOidc({ issuer, jwksPath: '/realms/agentcube/protocol/openid-connect/certs', tls: keycloak }))
    const [check = 0, admin = 0, issuing = 0, edge = 0, xds = 0, ...others] = await freePorts(8)
    const policy = policyText(workload('postern'), certificates.ca, { check, admin, issuing }, folder.path)
    const postern = started(await startPostern(policy))

    await createCrds(kubernetes)
    for (const name of [namespace, 'istio-system'])
      await kubernetes.call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
    const apply = (resource: Resource): Promise<void> => applyTo(kubernetes, resource)
    const places = {
      'port: { number: 443, name: https, protocol: HTTPS }': `port: { number: ${edge}, name: https, protocol: HTTPS }\n      bind: 127.0.0.1`,
      'edge.example:443': `edge.example:${edge}`,
      '/etc/edge-tls': folder.path,
      '/etc/keycloak-ca/ca.crt': certificates.ca,
      '/var/run/secrets/istio/root-cert.pem': certificates.ca,
    }
    for (const file of files) for (const resource of resources(file, places)) await apply(resource)
    const ports = {
      postern: check,
      'postern-api': issuing,
      keycloak: users.port,
      workloadmanager: upstreams.workloadmanager.port,
      picod: upstreams.picod.port,
    }
    for (const entry of serviceEntries(ports)) await apply(entry)

    const istiod = started(startIstiod(kubernetes, folder.file('kubeconfig'), xds, others))
    const config = gatewayBootstrap({ istiod: xds, agent: agent.port, namespace })
    await until('istiod to be ready', () => reachable(`http://127.0.0.1:${others[0]}/ready`, istiod), 60_000)
    const envoy = started(await startEnvoy(config))
    await until('the listener of istiod', async () => (await envoy.admin('/listeners')).includes(`127.0.0.1:${edge}`), 20_000)
    const resource = (file: string, name: string, kind?: string): Resource => {
      const found = resources(file, places).find((one) => one.metadata.name === name && (kind ?? one.kind) === one.kind)
      if (found === undefined) throw new Error(`deploy/istio/${file} was expected to hold ${name}`)
      return found
    }
    return { resource, envoy, port: edge, postern, policy, users, certificates, kubernetes, istiod, apply, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

/** deploy/istio/postern.yaml with this test's files and ports, and state in memory. */
function policyText(own: Identity, ca: string, ports: { check: number; admin: number; issuing: number }, folder: string): string {
  const replacements: Readonly<Record<string, string>> = {
    '/run/spire/certs/svid.pem': own.cert,
    '/run/spire/certs/svid_key.pem': own.key,
    '/run/spire/certs/svid_bundle.pem': ca,
    '0.0.0.0:9191': `127.0.0.1:${ports.check}`,
    '127.0.0.1:9192': `127.0.0.1:${ports.admin}`,
    '0.0.0.0:9193': `127.0.0.1:${ports.issuing}`,
    '/etc/postern/secrets': folder,
  }
  writeFileSync(`${folder}/admin-secret`, randomBytes(32).toString('hex'), { mode: 0o600 })
  writeFileSync(`${folder}/key-encryption-key`, randomBytes(32).toString('hex'), { mode: 0o600 })
  let text = readFileSync(path('postern.yaml'), 'utf8')
  for (const [from, to] of Object.entries(replacements)) {
    if (!text.includes(from)) throw new Error(`deploy/istio/postern.yaml was expected to hold ${from}`)
    text = text.replaceAll(from, to)
  }
  const without = text.replace(/^state:\n( {2}.*\n)+/m, 'state: "memory:"\n')
  if (without === text) throw new Error('deploy/istio/postern.yaml was expected to hold `state:`')
  return without
}

async function createCrds({ call }: RunningKubernetes): Promise<void> {
  const text = readFileSync(process.env['POSTERN_TEST_ISTIO_CRDS'] ?? '', 'utf8')
  const crds = parseAllDocuments(text).flatMap((document) => (document.contents === null ? [] : [document.toJS() as Resource]))
  for (const crd of crds) await call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', crd)
  const served = () =>
    call('GET', `/apis/security.istio.io/v1/namespaces/default/authorizationpolicies`).then(
      () => true,
      () => false,
    )
  await until('the resources of Istio to be served', served, 20_000)
}

/** Unknown fields are errors, as `kubectl apply` has it. */
async function applyTo({ call }: RunningKubernetes, resource: Resource): Promise<void> {
  const collection = `/apis/${resource.apiVersion}/namespaces/${namespace}/${plural(resource)}`
  const { name } = resource.metadata
  const there = await call('GET', `${collection}/${name}`).then(
    (found) => (found['metadata'] as { resourceVersion: string }).resourceVersion,
    () => undefined,
  )
  const metadata = { ...resource.metadata, namespace, ...(there !== undefined && { resourceVersion: there }) }
  const [method, at] = there === undefined ? ['POST', collection] : ['PUT', `${collection}/${name}`]
  await until(`${resource.kind} to be served`, () =>
    accepted(call(method ?? 'POST', `${at}?fieldValidation=Strict`, { ...resource, metadata })),
  )
}

/** A kind of which the API server does not know yet is asked for again; any other refusal is the caller's to see. */
async function accepted(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return true
  } catch (error) {
    if (error instanceof Error && error.message.includes('answered 404: 404 page not found')) return false
    throw error
  }
}

function startIstiod(
  { url, ca, admin }: RunningKubernetes,
  kubeconfig: string,
  xds: number,
  [http, monitoring, control]: number[],
): Program {
  const cluster = { server: url, 'certificate-authority': ca }
  const context = { cluster: 'test', user: 'test' }
  const document = {
    ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test', contexts: [{ name: 'test', context }] },
    ...{ clusters: [{ name: 'test', cluster }], users: [{ name: 'test', user: { token: admin } }] },
  }
  writeFileSync(kubeconfig, JSON.stringify(document), { mode: 0o600 })
  const address = (port: number | undefined): string => `127.0.0.1:${port}`
  return startProgram(
    process.env['POSTERN_TEST_ISTIOD'] ?? 'pilot-discovery',
    [
      ...['discovery', '--kubeconfig', kubeconfig, '--meshConfig', path('mesh.yaml')],
      ...[
        '--grpcAddr',
        address(xds),
        '--httpAddr',
        address(http),
        '--monitoringAddr',
        address(monitoring),
        '--ctrlz_port',
        String(control),
      ],
      // Neither a certificate authority nor webhooks: the certificates are this test's.
      ...['--httpsAddr', '', '--secureGRPCAddr', ''],
    ],
    {
      env: {
        POD_NAMESPACE: 'istio-system',
        ENABLE_CA_SERVER: 'false',
        PILOT_CERT_PROVIDER: 'none',
        PILOT_JWT_ENABLE_REMOTE_JWKS: 'envoy',
        // Two filters that Istio's own build of Envoy alone has; neither has a part in authorization.
        PILOT_ENABLE_ALPN_FILTER: 'false',
        PILOT_ENABLE_METADATA_EXCHANGE: 'false',
      },
    },
  )
}

async function reachable(url: string, program: Program): Promise<boolean> {
  if (!program.running()) throw new Error(`istiod ended:\n${[...program.stdout, ...program.stderr].slice(-15).join('\n')}`)
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )
}
