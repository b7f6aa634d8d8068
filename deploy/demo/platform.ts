import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { testCertificates } from '../../test/support/certificates.ts'
import { envoyFile, type RunningEnvoy, startEnvoy } from '../../test/support/envoy.ts'
import { freePorts } from '../../test/support/free-port.ts'
import { type OidcIssuer, startOidc } from '../../test/support/oidc.ts'
import { type Program, startProgram } from '../../test/support/program.ts'
import type { ClientTls } from '../../test/support/request.ts'
import { temporaryFolder } from '../../test/support/temporary-folder.ts'
import { until } from '../../test/support/until.ts'
import { sandbox, workloadManager } from './upstreams.ts'

/** Everything that the tour talks to. */
export interface Platform {
  readonly folder: string
  /** Of Envoy's listener. */
  readonly port: number
  readonly admin: string
  readonly issuer: string
  readonly adminSecret: string
  /** The policy file that Postern runs on. */
  readonly config: string
  readonly envoy: RunningEnvoy
  readonly postern: Program
  /** Stands for Keycloak. */
  readonly users: OidcIssuer
  /** For clients; an agent presents its certificate. */
  readonly tls: (agent?: boolean) => ClientTls
  /** Stops everything and removes the folder. */
  readonly stop: () => Promise<void>
}

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url))
const users = { issuer: 'https://keycloak.example/realms/default', jwksPath: '/realms/default/protocol/openid-connect/certs' }

/**
 * Starts certificates, issuer of users' tokens, Postern with embedded state, two upstreams and Envoy, on free ports, with
 * everything they write in one temporary folder.
 * @param say told what is being started
 */
export async function startPlatform(say: (text: string) => void): Promise<Platform> {
  const folder = temporaryFolder('demo')
  const stops: (() => unknown)[] = [folder.remove]
  const stop = async (): Promise<void> => {
    for (const one of stops.splice(0).reverse()) await one()
  }
  const started = <T extends { readonly stop: () => unknown }>(thing: T): T => {
    stops.push(() => thing.stop())
    return thing
  }
  try {
    say('making throw-away certificates and keys')
    const certificates = testCertificates(folder.path, 'workloads-ca')
    certificates.server('server', { dns: ['edge.example'] })
    const agent = certificates.workload('researcher', 'spiffe://cluster.local/ns/agents/sa/researcher')
    const keycloak = started(await startOidc({ ...users, tls: certificates.server('keycloak', { dns: ['keycloak.example'] }) }))

    say('starting Postern with an embedded database')
    const [adminPort = 0, issuerPort = 0] = await freePorts(2)
    const admin = `http://127.0.0.1:${adminPort}`
    const issuer = `http://127.0.0.1:${issuerPort}`
    const adminSecret = randomBytes(32).toString('hex')
    const socket = folder.file('check.sock')
    const config = folder.file('postern.yaml')
    const policy = readFileSync(new URL('./postern.yaml', import.meta.url), 'utf8')
    const values: Record<string, string> = {
      check: `unix:${socket}`,
      admin: `127.0.0.1:${adminPort}`,
      issuer: `127.0.0.1:${issuerPort}`,
      folder: folder.path,
    }
    writeFileSync(
      config,
      policy.replace(/@(check|admin|issuer|folder)@/g, (_, name: string) => values[name] ?? ''),
      { mode: 0o600 },
    )
    const postern = started(
      startProgram(process.execPath, [main, 'serve', '--config', config], { env: { POSTERN_ADMIN_SECRET: adminSecret }, cwd: folder.path }),
    )
    await until(
      'Postern to be ready',
      async () => {
        if (!postern.running()) throw new Error(`Postern ended instead of serving:\n${[...postern.stdout, ...postern.stderr].join('\n')}`)
        return (await fetch(`${admin}/readyz`).catch(() => undefined))?.ok
      },
      20_000,
    )

    say('starting two upstreams: a workload manager and a sandbox')
    const manager = started(await workloadManager(issuer))
    const box = started(await sandbox(issuer))

    say('starting Envoy with envoy/capture.yaml')
    const envoy = started(
      await startEnvoy(
        envoyFile('capture.yaml', {
          'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
          'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0',
          'address: keycloak.example, port_value: 443': `address: 127.0.0.1, port_value: ${keycloak.port}`,
          '/etc/ssl/certs/ca-certificates.crt': `${folder.path}/workloads-ca.crt`,
          '/etc/envoy/certs': folder.path,
          '/run/postern/check.sock': socket,
          '/run/postern/ext-proc.sock': folder.file('ext-proc.sock'),
          'port_value: 8081': `port_value: ${manager.port}`,
          'port_value: 8082': `port_value: ${box.port}`,
        }),
      ),
    )
    const tls = (asAgent = false): ClientTls => ({
      ca: certificates.caPem,
      servername: 'edge.example',
      ...(asAgent ? { cert: agent.certPem, key: agent.keyPem } : {}),
    })
    const port = envoy.port('edge')
    return { folder: folder.path, port, admin, issuer, adminSecret, config, envoy, postern, users: keycloak, tls, stop }
  } catch (cause) {
    await stop()
    throw cause
  }
}
