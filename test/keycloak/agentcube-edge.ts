import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { parseDocument } from 'yaml'
import { testCertificates } from '../support/certificates.ts'
import { envoyFile, type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePort } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import type { RunningRedis } from '../support/redis.ts'
import type { ClientTls } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { type AgentcubeUpstream, startPicod, startWorkloadManager } from './agentcube-upstream.ts'
import { type RunningKeycloak, secretOf } from './keycloak.ts'

/** AgentCube behind Envoy and Postern, with a Keycloak and a Redis that the test started. */
export interface AgentcubeEdge {
  /** Of Envoy's listener: TLS. */
  readonly port: number
  readonly tls: ClientTls
  /** Path of the CA's certificate, for clients in other processes. */
  readonly ca: string
  readonly envoy: RunningEnvoy
  readonly postern: RunningPostern
  readonly workloadmanager: AgentcubeUpstream
  readonly picod: AgentcubeUpstream
  readonly stop: () => Promise<void>
}

const policyFile = fileURLToPath(new URL('agentcube.yaml', import.meta.url))

/**
 * Starts Postern with agentcube.yaml, Envoy with envoy/envoy.yaml (its CHANGE places filled in for AgentCube), and the upstreams.
 * @param verifiedBy who verifies users' tokens; `postern` takes the jwt_authn filter out of Envoy
 * @param keysSeconds how long Envoy keeps Keycloak's keys; absent: as envoy.yaml says
 */
export async function startAgentcubeEdge(
  keycloak: RunningKeycloak,
  redis: RunningRedis,
  verifiedBy: 'envoy' | 'postern' = 'envoy',
  keysSeconds?: number,
): Promise<AgentcubeEdge> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server')
    writeFileSync(folder.file('agentcube-router'), `${secretOf('agentcube-router')}\n`, { mode: 0o600 })
    writeFileSync(folder.file('agentcube-redis'), `${readerPassword}\n`, { mode: 0o600 })
    const platform = redis.client()
    await allowReader(platform)
    const options = { issuer: keycloak.issuer, redis: platform }
    const workloadmanager = started(await startWorkloadManager(options))
    const picod = started(await startPicod(options))
    const filled = fill(readFileSync(policyFile, 'utf8'), {
      keycloak: keycloak.url,
      redis: `127.0.0.1:${redis.port}`,
      check: `unix:${folder.file('check.sock')}`,
      admin: `127.0.0.1:${await freePort()}`,
      folder: folder.path,
    })
    const postern = started(await startPostern(verifiedBy === 'envoy' ? filled : verifyHere(filled)))
    const ports = { keycloak: keycloak.port, workloadmanager: workloadmanager.port, picod: picod.port }
    const envoy = started(await startEnvoy(envoyConfig(folder.path, keycloak.issuer, ports, verifiedBy, keysSeconds)))
    const tls = { ca: certificates.caPem }
    return { port: envoy.port('edge'), tls, ca: certificates.ca, envoy, postern, workloadmanager, picod, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

const readerPassword = 'password-of-the-reader'

/** The rights that Postern needs in AgentCube's Redis, and no others. */
async function allowReader(redis: Redis): Promise<void> {
  const tracking = ['+ping', '+subscribe', '+client|id', '+client|tracking', '+client|trackinginfo', '&__redis__:invalidate']
  await redis.acl('SETUSER', 'postern', 'reset', 'on', `>${readerPassword}`, '%R~session:*', '+get', ...tracking)
}

function fill(policy: string, values: Readonly<Record<string, string>>): string {
  return policy.replace(/@([a-z]+)@/g, (whole, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`agentcube.yaml holds ${whole}, which nobody fills in`)
    return value
  })
}

function verifyHere(policy: string): string {
  const document = parseDocument(policy)
  document.setIn(['identity', 0, 'verified_by'], 'postern')
  for (const name of ['metadata_key', 'forward']) document.deleteIn(['identity', 0, name])
  return String(document)
}

/** Where AgentCube's paths go; what is not listed is asked about too, and is 404. */
const routes = [
  { match: { prefix: '/v1/namespaces/' }, route: { cluster: 'sandbox', timeout: '0s', idle_timeout: '300s' } },
  ...['/v1/agent-runtime', '/v1/code-interpreter', '/health/'].map((prefix) => ({
    match: { prefix },
    route: { cluster: 'workloadmanager', timeout: '30s' },
  })),
  { match: { prefix: '/' }, direct_response: { status: 404 } },
]

function envoyConfig(
  folder: string,
  issuer: string,
  ports: Readonly<Record<'keycloak' | 'workloadmanager' | 'picod', number>>,
  verifiedBy: 'envoy' | 'postern',
  keysSeconds: number | undefined,
): string {
  const text = envoyFile('envoy.yaml', {
    'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
    'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0',
    '/etc/envoy/certs': folder,
    '/run/postern/check.sock': `${folder}/check.sock`,
    'https://keycloak.example/realms/default': issuer,
    'address: keycloak.example, port_value: 443': `address: 127.0.0.1, port_value: ${ports.keycloak}`,
    'port_value: 8081': `port_value: ${ports.workloadmanager}`,
    'port_value: 8082': `port_value: ${ports.picod}`,
    ...(keysSeconds === undefined ? {} : { 'cache_duration: 60s': `cache_duration: ${keysSeconds}s` }),
  })
  const document = parseDocument(text)
  const manager = ['static_resources', 'listeners', 0, 'filter_chains', 0, 'filters', 0, 'typed_config']
  document.setIn([...manager, 'route_config', 'virtual_hosts', 0, 'routes'], routes)
  const named = (path: readonly unknown[], name: string) => {
    for (let at = 0; document.hasIn([...path, at]); at++) if (document.getIn([...path, at, 'name']) === name) return [...path, at]
    throw new Error(`envoy.yaml has no ${name} in ${path.join('.')}`)
  }
  // A Keycloak of start-dev has no certificate.
  document.deleteIn([...named(['static_resources', 'clusters'], 'users_jwks'), 'transport_socket'])
  if (verifiedBy === 'postern') document.deleteIn(named([...manager, 'http_filters'], 'envoy.filters.http.jwt_authn'))
  return String(document)
}
