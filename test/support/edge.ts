import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Certificates, type Identity, testCertificates } from './certificates.ts'
import { envoyFile, type RunningEnvoy, startEnvoy } from './envoy.ts'
import { type EnvoyFileName, envoyText } from './envoy-document.ts'
import { freePorts } from './free-port.ts'
import { type OidcIssuer, startOidc } from './oidc.ts'
import { type RunningPostern, startPostern } from './postern.ts'
import type { ClientTls } from './request.ts'
import { createStops } from './stops.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { startUpstream, type Upstream } from './upstream.ts'

/** The `iss` that the files in envoy/ name. */
const usersIssuer = 'https://keycloak.example/realms/default'
const jwksPath = '/realms/default/protocol/openid-connect/certs'

/** One of the files in envoy/, with everything that it needs around it. */
export interface Edge {
  readonly envoy: RunningEnvoy
  /** Port of the file's only listener. */
  readonly port: number
  readonly postern: RunningPostern
  /** Stands for Keycloak: the issuer of users' tokens. */
  readonly users: OidcIssuer
  readonly upstreams: Readonly<Record<UpstreamName, Upstream>>
  /** The CA of every certificate here. */
  readonly certificates: Certificates
  /** For clients of a TLS listener; `workload` presents a certificate of the workloads' CA. */
  readonly tls: (workload?: Identity) => ClientTls
  readonly stop: () => Promise<void>
}

export type UpstreamName = 'workloadmanager' | 'sandbox' | 'partner'

/** What a test's policy may hold between `@` signs, and what stands there when Postern starts. */
export interface Placeholders {
  readonly check: string
  readonly admin: string
  readonly issuer: string
  readonly folder: string
}

/** Reads a policy from test/e2e/fixtures. */
export const fixture = (name: string): string => readFileSync(fileURLToPath(new URL(`../e2e/fixtures/${name}`, import.meta.url)), 'utf8')

/**
 * Starts Envoy with one of the ready files, a Postern, an issuer of users' tokens and the upstreams.
 * @param file in envoy/
 * @param policy YAML; `@check@` (address), `@admin@` and `@issuer@` (host:port) and `@folder@` (certificates) are filled in
 * @param start for tests of Envoy alone: starts something else in Postern's place, and gives how to stop it
 * @param concurrency worker threads of Envoy
 * @param change what the file says is changed further
 */
export async function startEdge(
  file: EnvoyFileName,
  policy: string,
  start: (policy: string, at: Placeholders) => Promise<RunningPostern> = (filled) => startPostern(filled),
  concurrency = 1,
  change: (text: string, certificates: Certificates) => string = (text) => text,
): Promise<Edge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    const keycloak = certificates.server('keycloak', { dns: ['keycloak.example'] })
    certificates.server('server', { dns: ['edge.example'] })
    const users = started(await startOidc({ issuer: usersIssuer, jwksPath, tls: keycloak }))
    const partner = started(await startUpstream('partner', { tls: certificates.server('partner', { dns: ['api.partner.example'] }) }))
    const upstream = async (name: UpstreamName, account: string) =>
      started(await startUpstream(name, file === 'upstreams.yaml' ? { tls: certificates.workload(account, accountId(account)) } : {}))
    const upstreams = {
      workloadmanager: await upstream('workloadmanager', 'workloadmanager'),
      sandbox: await upstream('sandbox', 'picod'),
      partner,
    }
    if (file === 'upstreams.yaml') certificates.workload('router', accountId('router'))
    const [admin = 0, issuer = 0, check = 0] = await freePorts(3)
    const overTcp = file === 'tcp-mtls.yaml'
    const text = envoyText(file)
    if (overTcp) tcpIdentities(certificates)
    const at: Placeholders = {
      check: overTcp ? `127.0.0.1:${check}` : `unix:${folder.file('check.sock')}`,
      admin: `127.0.0.1:${admin}`,
      issuer: `127.0.0.1:${issuer}`,
      folder: folder.path,
    }
    const filled = policy.replace(/@(check|admin|issuer|folder)@/g, (_, name: keyof Placeholders) => at[name])
    const postern = started(await start(filled, at))
    const envoy = started(
      await startEnvoy(
        change(
          envoyFile(file, {
            ...common(folder.path, users.port),
            ...(text.includes('/etc/envoy/certs') ? { '/etc/envoy/certs': folder.path } : {}),
            ...(file === 'capture.yaml' ? { '/run/postern/ext-proc.sock': folder.file('ext-proc.sock') } : {}),
            ...(overTcp ? { 'address: postern, port_value: 9191': `address: 127.0.0.1, port_value: ${check}` } : {}),
            ...(overTcp ? {} : { '/run/postern/check.sock': folder.file('check.sock') }),
            ...listenerReplacements(file, upstreams),
          }),
          certificates,
        ),
        concurrency,
      ),
    )
    const listener = {
      'envoy.yaml': 'edge',
      'capture.yaml': 'edge',
      'direct.yaml': 'edge',
      'tcp-mtls.yaml': 'edge',
      'tenants.yaml': 'edge',
      'spire.yaml': 'edge',
      'upstreams.yaml': 'edge',
      'behind-load-balancer.yaml': 'edge',
      'egress.yaml': 'egress',
    }[file]
    return {
      envoy,
      port: envoy.port(listener),
      postern,
      users,
      upstreams,
      certificates,
      tls: (workload) => ({ ca: certificates.caPem, ...(workload ? { cert: workload.certPem, key: workload.keyPem } : {}) }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

const common = (folder: string, jwksPort: number): Record<string, string> => ({
  'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
  'address: keycloak.example, port_value: 443': `address: 127.0.0.1, port_value: ${jwksPort}`,
  '/etc/ssl/certs/ca-certificates.crt': `${folder}/workloads-ca.crt`,
})

function listenerReplacements(file: EnvoyFileName, upstreams: Edge['upstreams']): Record<string, string> {
  const port = (name: UpstreamName) => `port_value: ${upstreams[name].port}`
  if (file === 'egress.yaml') {
    return {
      'address: 127.0.0.1, port_value: 10000': 'address: 127.0.0.1, port_value: 0',
      'address: api.partner.example, port_value: 443': `address: 127.0.0.1, ${port('partner')}`,
      'port_value: 8082': port('sandbox'),
    }
  }
  // Of direct.yaml the test says where its sandboxes are.
  const sandbox: Record<string, string> = file === 'direct.yaml' ? {} : { 'port_value: 8082': port('sandbox') }
  const edge = { 'port_value: 8081': port('workloadmanager'), ...sandbox }
  return file === 'behind-load-balancer.yaml'
    ? { ...edge, 'address: 0.0.0.0, port_value: 10080': 'address: 127.0.0.1, port_value: 0' }
    : { ...edge, 'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0' }
}

/** The SPIFFE ID of a service account of the platform, as envoy/upstreams.yaml names it. */
const accountId = (account: string): string => `spiffe://cluster.local/ns/agentcube-system/sa/${account}`

/** The certificates of Envoy and Postern on the connection between them. */
function tcpIdentities(certificates: Certificates): void {
  certificates.workload('envoy', 'spiffe://cluster.local/ns/edge/sa/envoy')
  certificates.server('postern', { dns: ['postern'], uri: ['spiffe://cluster.local/ns/agents/sa/postern'] })
}
