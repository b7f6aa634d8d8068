import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type RunningKeycloak, secretOf, startKeycloak } from '../keycloak/keycloak.ts'
import { startDomain, type TrustDomain, withoutSpire } from '../spire/domain.ts'
import { type Helper, startHelper } from '../spire/helper.ts'
import { testCertificates } from '../support/certificates.ts'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningCluster, startCluster } from '../support/redis-cluster.ts'
import type { ClientTls } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { edgeConfiguration } from './envoy.ts'
import { type SampleUpstream, startSample } from './upstreams.ts'

const execute = promisify(execFile)
const fixtures = (name: string): string => readFileSync(fileURLToPath(new URL(`fixtures/${name}`, import.meta.url)), 'utf8')

/** The SPIFFE ID of a service account of the platform's namespace. */
export const idOf = (account: string): string => `spiffe://cluster.local/ns/agentcube-system/sa/${account}`

/** Why it cannot be had here; undefined: it can. */
export const withoutEverything = (): string | undefined =>
  withoutSpire() ?? (process.env['POSTERN_TEST_KEYCLOAK'] === undefined ? 'POSTERN_TEST_KEYCLOAK' : undefined)

/** Seconds of life of an SVID; the agent renews it at about a third of it. */
const svidSeconds = 30

/** All parts of a platform, each of them real, on this machine. */
export interface Everything {
  readonly domain: TrustDomain
  readonly keycloak: RunningKeycloak
  readonly redis: RunningCluster
  readonly envoy: RunningEnvoy
  readonly port: number
  /** Two replicas, on one state, and the ports of their Check and admin listeners. */
  readonly posterns: readonly RunningPostern[]
  readonly checks: readonly number[]
  readonly admins: readonly number[]
  /** Starts a replica again, after it was killed. */
  readonly restart: (replica: number) => Promise<RunningPostern>
  readonly adminSecret: string
  readonly helpers: Readonly<Record<'postern' | 'workloadmanager' | 'picod', Helper>>
  readonly upstreams: Readonly<Record<'workloadmanager' | 'sandbox' | 'sandboxAtOnce' | 'sandboxOfAcme', SampleUpstream>>
  /** The secret of the program agentcube-sdk in the realm of the second tenant. */
  readonly acmeSecret: string
  readonly tls: (helper?: Helper) => ClientTls
  readonly stop: () => Promise<void>
}

/**
 * SPIRE, Keycloak with two realms, a Redis Cluster with TLS, two replicas of Postern that serve both realms, the sample upstreams with
 * mTLS and without, and Envoy with its certificates by SDS in front.
 */
export async function startEverything(): Promise<Everything> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const certificates = testCertificates(folder.path, 'redis-ca')
    const forRedis = certificates.server('redis')
    const [domain, keycloak, redis] = await all(
      startDomain('cluster.local').then(started),
      startKeycloak().then(started),
      startCluster({ tls: { cert: forRedis.cert, key: forRedis.key, ca: certificates.ca } }).then(started),
    )
    const router = idOf('router')
    const more = ['-dns', 'localhost']
    // The agent knows Envoy by its program.
    await domain.register(router, realpathSync(process.env['POSTERN_TEST_ENVOY'] ?? 'envoy'), { seconds: svidSeconds, more })
    const helper = (account: string) => startHelper(domain, idOf(account), { seconds: svidSeconds, more }).then(started)
    const [forPostern, workloadmanager, picod] = await all(helper('postern'), helper('workloadmanager'), helper('picod'))
    writeFileSync(folder.file('agentcube-router'), `${secretOf('agentcube-router')}\n`, { mode: 0o600 })
    const acmeSecret = await addTenant('acme', keycloak, folder.file('acme'))

    const secrets = {
      POSTERN_ADMIN_SECRET: randomBytes(32).toString('hex'),
      POSTERN_KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    }
    const ports = await freePorts(8)
    const of = (kind: number): [number, number] => [ports[kind] ?? 0, ports[kind + 4] ?? 0]
    const [checks, processors, admins, issuers] = [of(0), of(1), of(2), of(3)]
    const startReplica = async (replica: number): Promise<RunningPostern> => {
      const own = temporaryFolder()
      mkdirSync(own.file('tenants'))
      const at: Readonly<Record<string, string>> = {
        check: `127.0.0.1:${checks[replica]}`,
        ext_proc: `127.0.0.1:${processors[replica]}`,
        admin: `127.0.0.1:${admins[replica]}`,
        issuer: `127.0.0.1:${issuers[replica]}`,
        certs: forPostern.certs,
        router,
        redis: redis.hosts.map((host) => `"${host}"`).join(', '),
        folder: folder.path,
        keycloak: keycloak.url,
      }
      const fill = (text: string): string => text.replace(/@(\w+)@/g, (_, name: string) => at[name] ?? '')
      for (const tenant of ['agentcube.yaml', 'acme.yaml'])
        writeFileSync(own.file(`tenants/${tenant}`), fill(fixtures(`tenants/${tenant}`)), { mode: 0o600 })
      return startPostern(fill(fixtures('postern.yaml')), { folder: own, env: { ...process.env, ...secrets } })
    }
    const posterns = await all(startReplica(0), startReplica(1))
    for (const postern of posterns) started(postern)

    const issuer = 'https://postern.agentcube-system:9193/realms'
    const keysOf = (realm: string): string => `http://127.0.0.1:${issuers[1]}/realms/${realm}/jwks.json`
    const mtls = (of: Helper) => [
      ...['--mode', 'mtls', '--allow', router],
      ...['--cert', of.file('svid.pem'), '--key', of.file('svid_key.pem'), '--ca', of.file('svid_bundle.pem')],
    ]
    const byKeycloak = [
      ...['--issuer', keycloak.issuer, '--jwks', `${keycloak.issuer}/protocol/openid-connect/certs`],
      ...['--token-type', 'any', '--resource', 'unchecked'],
    ]
    const [manager, sandbox, sandboxAtOnce, sandboxOfAcme] = await all(
      startSample('workloadmanager', ['--memory', ...mtls(workloadmanager), ...byKeycloak]).then(started),
      startSample('picod', ['--sandbox', '*', ...mtls(picod), '--issuer', `${issuer}/agentcube`, '--jwks', keysOf('agentcube')]).then(
        started,
      ),
      startSample('picod', ['--sandbox', '*', '--mode', 'jwt', ...byKeycloak]).then(started),
      startSample('picod', ['--sandbox', '*', '--mode', 'jwt', '--issuer', `${issuer}/acme`, '--jwks', keysOf('acme')]).then(started),
    )
    const envoy = started(
      await startEnvoy(
        edgeConfiguration({
          agentSocket: domain.agentSocket,
          keycloak: keycloak.port,
          issuer: keycloak.issuer,
          checks,
          processors,
          workloadmanager: manager.port,
          sandbox: sandbox.port,
          sandboxAtOnce: sandboxAtOnce.port,
          sandboxOfAcme: sandboxOfAcme.port,
        }),
        2,
      ),
    )
    // Once, since spiffe-helper writes it anew with each certificate.
    const bundle = picod.text('svid_bundle.pem')
    return {
      domain,
      keycloak,
      redis,
      envoy,
      port: envoy.port('edge'),
      posterns,
      checks,
      admins,
      restart: async (replica) => started(await startReplica(replica)),
      adminSecret: secrets.POSTERN_ADMIN_SECRET,
      helpers: { postern: forPostern, workloadmanager, picod },
      upstreams: { workloadmanager: manager, sandbox, sandboxAtOnce, sandboxOfAcme },
      acmeSecret,
      tls: (of) => ({
        ca: bundle,
        servername: 'localhost',
        ...(of && { cert: of.text('svid.pem'), key: of.text('svid_key.pem') }),
      }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** Waits for all, also where one fails: what has started by then is to be stopped. */
async function all<T extends readonly unknown[]>(...promises: { [K in keyof T]: Promise<T[K]> }): Promise<T> {
  await Promise.allSettled(promises)
  return (await Promise.all(promises)) as unknown as T
}

/** Adds a realm to Keycloak by the script that operators use. @returns the secret of its program agentcube-sdk */
async function addTenant(realm: string, keycloak: RunningKeycloak, folder: string): Promise<string> {
  const script = fileURLToPath(new URL('../../deploy/keycloak/add-tenant.mjs', import.meta.url))
  const args = ['--url', keycloak.url, '--realm', realm, '--secrets', folder, '--policies', `${folder}/policies`]
  const env = { ...process.env, KEYCLOAK_ADMIN_USER: 'admin', KEYCLOAK_ADMIN_PASSWORD: 'admin' }
  await execute(process.execPath, [script, ...args], { env })
  return readFileSync(`${folder}/${realm}-agentcube-sdk`, 'utf8').trim()
}
