import { randomBytes } from 'node:crypto'
import { request } from 'node:https'
import { fileURLToPath } from 'node:url'
import { type Certificates, testCertificates } from '../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePort, freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type Program, startProgram } from '../support/program.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { type RunningCluster, startCluster } from '../support/redis-cluster.ts'
import { tlsFlags } from '../support/redis-tls.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { startUpstream, type Upstream } from '../support/upstream.ts'
import { type Manifest, namespace } from './rendered.ts'
import { envoyConfig, type Mounted, mounted, type PosternPod, posternPod } from './written.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const password = 'a-password-of-redis'
const issuer = 'https://keycloak.example/realms/agentcube'

/** A Pod's Postern as a process of its own, with its volumes as the kubelet lays them. */
export interface Replica {
  readonly program: Program
  readonly policy: Mounted
  /** Ports of this machine, by those of the manifest. */
  readonly ports: Readonly<Record<'9191' | '9192' | '9193', number>>
  /** What the kubelet would get of a probe of the manifest. */
  readonly probe: (name: 'startupProbe' | 'readinessProbe' | 'livenessProbe') => Promise<boolean>
  /** The policy of the manifest for this replica; `change` is done to its text. */
  readonly files: (change?: (text: string) => string) => Record<string, string>
}

export interface RunningManifests {
  readonly pod: PosternPod
  readonly replicas: readonly Replica[]
  /** Absent where the rendering leaves its configuration to somebody else. */
  readonly envoy: RunningEnvoy | undefined
  readonly envoyAdmin: number
  readonly users: OidcIssuer
  readonly upstreams: { readonly workloadmanager: Upstream; readonly sandbox: Upstream }
  readonly certificates: Certificates
  readonly label: (id: string, owner: string) => Promise<unknown>
  readonly stop: () => Promise<void>
}

/**
 * Runs what a rendering describes: Postern by its container's arguments and environment, its ConfigMap and Secrets in files, Envoy by its
 * configuration, and real servers around them. Only places (ports, folders, host names) are other ones.
 * @param count of Pods
 */
export async function runManifests(objects: readonly Manifest[], count: number): Promise<RunningManifests> {
  const pod = posternPod(objects)
  const folder = temporaryFolder('pod')
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path)
    const host = (name: string): string => `${name}.${namespace}.svc`
    const id = (account: string): string => `spiffe://cluster.local/ns/${namespace}/sa/${account}`
    const postern = certificates.server('postern', { dns: [host('postern'), host('postern-api')], uri: [id('postern')] })
    const router = certificates.server('router', { dns: ['edge.example'], uri: [id('router')] })
    const redisTls = { ...certificates.server('redis'), ca: certificates.ca }

    const text = Object.values(pod.policy).join('\n')
    // Postern proves itself by its password; Redis shows a certificate.
    const user = ['--user', 'postern', 'on', `>${password}`, '~*', '&*', '+@all', '--tls-auth-clients', 'no']
    let cluster: RunningCluster | undefined
    let redis: RunningRedis | undefined
    const hosts: string[] = []
    if (/^ +cluster:/m.test(text)) {
      cluster = started(await startCluster({ tls: redisTls, flags: user }))
      hosts.push(...cluster.hosts)
    } else {
      const port = await freePort()
      redis = started(await startRedis([...tlsFlags(redisTls, port), ...user]))
      hosts.push(`127.0.0.1:${/rediss:/.test(text) ? port : redis.port}`)
    }
    const tls = { 'tls.crt': postern.certPem, 'tls.key': postern.keyPem, 'ca.crt': certificates.caPem }
    mounted(folder.file('tls'), tls, 0o440)
    // As spiffe-helper leaves them.
    mounted(
      folder.file('svid'),
      { 'svid_key.pem': postern.keyPem, 'svid.pem': postern.certPem, 'svid_bundle.pem': certificates.caPem },
      0o400,
    )
    mounted(folder.file('certs'), { 'tls.crt': router.certPem, 'tls.key': router.keyPem, 'ca.crt': certificates.caPem }, 0o440)
    const secrets = {
      'redis-password': password,
      'admin-secret': randomBytes(32).toString('hex'),
      'key-encryption-key': randomBytes(32).toString('base64'),
    }
    mounted(folder.file('secrets'), secrets, 0o440)

    const replicas: Replica[] = []
    for (let i = 0; i < count; i++) {
      const [check = 0, admin = 0, keys = 0] = await freePorts(3)
      const ports = { 9191: check, 9192: admin, 9193: keys }
      const place = (value: string): string =>
        value
          .replaceAll('/etc/postern/policy', folder.file(`policy-${i}`))
          .replaceAll('/etc/postern/tls', folder.file('tls'))
          .replaceAll('/run/spire/certs', folder.file('svid'))
          .replaceAll('/etc/postern/secrets', folder.file('secrets'))
          .replaceAll('/run/postern', folder.path)
          .replace(/(0\.0\.0\.0|127\.0\.0\.1):(919[1-3])\b/g, (_, ip, port: keyof typeof ports) => `${ip}:${ports[port]}`)
          .replace(/redis-cluster-(\d)\.[\w.-]+:6379/g, (_, node) => hosts[Number(node)] ?? '')
          .replace(/redis(?:\.[\w.-]+)?:6379/g, hosts[0] ?? '')
      const files: Replica['files'] = (change = (one) => one) =>
        Object.fromEntries(Object.entries(pod.policy).map(([path, one]) => [path, place(change(one))]))
      const policy = mounted(folder.file(`policy-${i}`), files())
      const given = (pod.container['env'] ?? []) as { name: string; value: string }[]
      const program = startProgram(process.execPath, [main, ...(pod.container['args'] as string[]).map(place)], {
        cwd: folder.path,
        env: Object.fromEntries(given.map(({ name, value }) => [name, place(value)])),
      })
      started({ stop: () => program.stop() })
      const replica: Replica = { program, policy, ports, files, probe: (name) => probed(pod.container[name], ports, place) }
      replicas.push(replica)
      await until(
        'the start-up and readiness probes',
        async () => {
          if (!program.running()) throw new Error(`postern ended:\n${[...program.stdout, ...program.stderr].slice(-15).join('\n')}`)
          return (await replica.probe('startupProbe')) && (await replica.probe('readinessProbe'))
        },
        20_000,
      )
    }

    const upstreams = {
      workloadmanager: started(await startUpstream('workloadmanager', {})),
      sandbox: started(await startUpstream('sandbox', {})),
    }
    const keycloak = certificates.server('keycloak', { dns: [host('keycloak')] })
    const users = started(await startOidc({ issuer, jwksPath: '/realms/agentcube/protocol/openid-connect/certs', tls: keycloak }))
    const at = (port: number): string => `address: 127.0.0.1, port_value: ${port}`
    const endpoints = replicas.map(({ ports }) => `{ endpoint: { address: { socket_address: { ${at(ports[9191])} } } } }`)
    const envoyAdmin = await freePort()
    const localized = (config: string): string =>
      config
        .replace(
          `[{ endpoint: { address: { socket_address: { address: ${host('postern')}, port_value: 9191 } } } }]`,
          `[${endpoints.join(', ')}]`,
        )
        .replaceAll('/etc/envoy/certs', folder.file('certs'))
        .replaceAll('/run/postern', folder.path)
        .replace('address: 0.0.0.0, port_value: 10000', at(0))
        .replace('address: 127.0.0.1, port_value: 9901', at(envoyAdmin))
        .replace(`address: ${host('keycloak')}, port_value: 443`, at(users.port))
        .replace(`address: ${host('workloadmanager')}, port_value: 8080`, at(upstreams.workloadmanager.port))
        .replace(`address: ${host('picod')}, port_value: 8080`, at(upstreams.sandbox.port))
    const config = envoyConfig(objects)
    // One that asks SPIRE's agent is run in test/spire.
    const own = config?.includes('spire_agent') ? undefined : config
    const envoy = own === undefined ? undefined : started(await startEnvoy(localized(own)))
    const label: RunningManifests['label'] = async (name, owner) => {
      const key = `postern:default:labels:sandbox:${name}`
      return (cluster ? await cluster.at(key) : redis?.client())?.hset(key, 'agentcube.io/owner', owner)
    }
    return { pod, replicas, envoy, envoyAdmin, users, upstreams, certificates, label, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

interface Probe {
  readonly httpGet?: { readonly path: string; readonly port: string; readonly scheme: string }
  readonly exec?: { readonly command: readonly string[] }
}

/** As the kubelet asks: by the address of the Pod, without looking at the certificate, or by a command in the container. */
async function probed({ httpGet, exec }: Probe, ports: Replica['ports'], place: (value: string) => string): Promise<boolean> {
  if (exec) {
    const [command, ...args] = exec.command
    if (command !== '/usr/local/bin/node') throw new Error(`${command} is not in the image`)
    return (await startProgram(process.execPath, args.map(place)).ended).code === 0
  }
  const port = { admin: ports[9192], issuer: ports[9193], check: ports[9191] }[httpGet?.port ?? '']
  return new Promise((resolve) => {
    const asked = request({ host: '127.0.0.1', port, path: httpGet?.path, rejectUnauthorized: false, agent: false, timeout: 2000 })
    asked.on('response', (answer) => {
      answer.resume()
      resolve((answer.statusCode ?? 500) < 400)
    })
    asked.on('error', () => resolve(false))
    asked.on('timeout', () => asked.destroy())
    asked.end()
  })
}
