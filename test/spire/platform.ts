import { readFileSync, realpathSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { testCertificates } from '../support/certificates.ts'
import { envoyFile, type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type OidcIssuer, startOidc } from '../support/oidc.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import type { ClientTls } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { startDomain, type TrustDomain } from './domain.ts'
import { type Helper, startHelper } from './helper.ts'
import { type SecureUpstream, startSecureUpstream } from './upstream.ts'

/** The SPIFFE ID of a service account of the platform's namespace. */
export const idOf = (account: string, trustDomain = 'cluster.local'): string => `spiffe://${trustDomain}/ns/agentcube-system/sa/${account}`

/** Seconds of life of an SVID here; the agent renews them at about a third of it. */
export const svidSeconds = 30

/** envoy/spire.yaml, Postern and the upstreams, each with its identity from SPIRE. */
export interface Platform {
  readonly domain: TrustDomain
  readonly envoy: RunningEnvoy
  readonly port: number
  readonly postern: RunningPostern
  /** The port of Postern's Check listener. */
  readonly check: number
  readonly users: OidcIssuer
  readonly helpers: Readonly<Record<'postern' | 'workloadmanager' | 'picod', Helper>>
  readonly upstreams: Readonly<Record<'workloadmanager' | 'sandbox', SecureUpstream>>
  /** For clients of Envoy. @param helper whose certificate is presented */
  readonly tls: (helper?: Helper) => ClientTls
  readonly stop: () => Promise<void>
}

/** Starts all of it. Connections to Postern and to the upstreams end after a second, so that renewed certificates are proved. */
export async function startPlatform(): Promise<Platform> {
  const folder = temporaryFolder()
  const { started, stop } = createStops(folder.remove)
  try {
    const domain = started(await startDomain('cluster.local'))
    const router = idOf('router')
    // So that clients which check names can reach them.
    const more = ['-dns', 'localhost']
    // The agent knows Envoy by its program.
    await domain.register(router, realpathSync(process.env['POSTERN_TEST_ENVOY'] ?? 'envoy'), { seconds: svidSeconds, more })
    const helper = async (account: string) => started(await startHelper(domain, idOf(account), { seconds: svidSeconds, more }))
    const [forPostern, workloadmanager, picod] = await Promise.all([helper('postern'), helper('workloadmanager'), helper('picod')])
    const upstreams = {
      workloadmanager: started(await startSecureUpstream('workloadmanager', workloadmanager, router)),
      sandbox: started(await startSecureUpstream('sandbox', picod, router)),
    }
    const certificates = testCertificates(folder.path, 'public-ca')
    const users = started(
      await startOidc({
        issuer: 'https://keycloak.example/realms/default',
        jwksPath: '/realms/default/protocol/openid-connect/certs',
        tls: certificates.server('keycloak', { dns: ['keycloak.example'] }),
      }),
    )
    const [check = 0, admin = 0, issuer = 0] = await freePorts(3)
    const at: Readonly<Record<string, string>> = {
      check: `127.0.0.1:${check}`,
      admin: `127.0.0.1:${admin}`,
      issuer: `127.0.0.1:${issuer}`,
      certs: forPostern.certs,
    }
    const policy = readFileSync(fileURLToPath(new URL('fixtures/postern.yaml', import.meta.url)), 'utf8')
    const postern = started(await startPostern(policy.replace(/@(\w+)@/g, (_, name: string) => at[name] ?? '')))
    const envoy = started(
      await startEnvoy(
        envoyFile('spire.yaml', {
          'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
          'address: 0.0.0.0, port_value: 10000': 'address: 127.0.0.1, port_value: 0',
          'address: keycloak.example, port_value: 443': `address: 127.0.0.1, port_value: ${users.port}`,
          '/etc/ssl/certs/ca-certificates.crt': certificates.ca,
          '/run/spire/agent-sockets/spire-agent.sock': domain.agentSocket,
          'address: postern, port_value: 9191': `address: 127.0.0.1, port_value: ${check}`,
          'port_value: 8081': `port_value: ${upstreams.workloadmanager.port}`,
          'port_value: 8082': `port_value: ${upstreams.sandbox.port}`,
          'max_connection_duration: 3600s': 'max_connection_duration: 1s',
        }),
      ),
    )
    return {
      domain,
      envoy,
      port: envoy.port('edge'),
      postern,
      check,
      users,
      helpers: { postern: forPostern, workloadmanager, picod },
      upstreams,
      // Whatever the client shows, it knows the edge by the platform's own authorities.
      tls: (helper) => ({
        ca: picod.text('svid_bundle.pem'),
        servername: 'localhost',
        ...(helper && { cert: helper.text('svid.pem'), key: helper.text('svid_key.pem') }),
      }),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}
