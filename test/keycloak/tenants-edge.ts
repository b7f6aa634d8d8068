import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseDocument } from 'yaml'
import { testCertificates } from '../support/certificates.ts'
import { envoyFile, startEnvoy } from '../support/envoy.ts'
import { freePort } from '../support/free-port.ts'
import { type Program, startProgram } from '../support/program.ts'
import { request } from '../support/request.ts'
import { createStops } from '../support/stops.ts'
import type { TemporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { startUpstream } from '../support/upstream.ts'

const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

/** What came back through Envoy. */
export interface Reply {
  readonly status: number
  /** Of a denial. */
  readonly reason: string | undefined
  /** The token that an upstream got, and its other headers; undefined where none was reached. */
  readonly seen: { readonly upstream: string; readonly token: string; readonly headers: Readonly<Record<string, string>> } | undefined
}

export interface TenantsEdge {
  readonly ask: (host: string, token: string, path: string, method?: string) => Promise<Reply>
  readonly postern: Program
  readonly stop: () => Promise<void>
}

/**
 * Starts a Postern with a policy file and an Envoy that tells it the realm by the host. Postern verifies tokens itself.
 * @param policy `@check@` and `@admin@` are filled in; it becomes `name` in the folder
 * @param args further ones of `postern serve`
 * @param hosts host → realm, as context_extensions has it; undefined: Envoy names none
 */
export async function startTenantsEdge(
  folder: TemporaryFolder,
  name: string,
  policy: string,
  args: readonly string[],
  hosts: Readonly<Record<string, string | undefined>>,
): Promise<TenantsEdge> {
  const { started, stop } = createStops(() => {})
  try {
    const certificates = testCertificates(folder.path, `${name}-ca`)
    certificates.server('server', { dns: Object.keys(hosts) })
    const [admin, check] = [await freePort(), folder.file(`${name}.sock`)]
    const config = folder.file(name)
    writeFileSync(config, policy.replaceAll('@check@', `unix:${check}`).replaceAll('@admin@', `127.0.0.1:${admin}`), { mode: 0o600 })
    const postern = started(startProgram(process.execPath, [main, 'serve', '--config', config, ...args], { cwd: folder.path }))
    await until(
      'Postern to be ready',
      async () => {
        if (!postern.running()) throw new Error(`postern ended:\n${[...postern.stdout, ...postern.stderr].slice(-20).join('\n')}`)
        return fetch(`http://127.0.0.1:${admin}/readyz`).then(
          ({ ok }) => ok,
          () => false,
        )
      },
      30_000,
    )
    const workloadmanager = started(await startUpstream('workloadmanager'))
    const sandbox = started(await startUpstream('sandbox'))
    const ports = { workloadmanager: workloadmanager.port, sandbox: sandbox.port }
    const envoy = started(await startEnvoy(envoyConfig(folder.path, `${name}-ca`, check, ports, hosts)))
    const tls = { ca: certificates.caPem }
    const ask: TenantsEdge['ask'] = async (host, token, path, method = 'GET') => {
      const headers = { host, authorization: `Bearer ${token}` }
      const { status, body } = await request({ port: envoy.port('edge'), tls, method, path, headers })
      const answer = (body.startsWith('{') ? JSON.parse(body) : {}) as {
        reason?: string
        upstream?: string
        headers?: Record<string, string>
      }
      if (status !== 200 || answer.upstream === undefined) return { status, reason: answer.reason, seen: undefined }
      const given = answer.headers?.['authorization'] ?? ''
      const seen = { upstream: answer.upstream, token: given.replace(/^Bearer /, ''), headers: answer.headers ?? {} }
      return { status, reason: undefined, seen }
    }
    return { ask, postern, stop }
  } catch (error) {
    await stop()
    throw error
  }
}

function envoyConfig(
  folder: string,
  ca: string,
  check: string,
  ports: Readonly<Record<'workloadmanager' | 'sandbox', number>>,
  hosts: Readonly<Record<string, string | undefined>>,
): string {
  const text = envoyFile('envoy.yaml', {
    'address: 127.0.0.1, port_value: 9901': 'address: 127.0.0.1, port_value: 0',
    'address: 0.0.0.0, port_value: 10443': 'address: 127.0.0.1, port_value: 0',
    '/etc/envoy/certs/workloads-ca.crt': `${folder}/${ca}.crt`,
    '/etc/envoy/certs': folder,
    '/run/postern/check.sock': check,
    'port_value: 8081': `port_value: ${ports.workloadmanager}`,
    'port_value: 8082': `port_value: ${ports.sandbox}`,
  })
  const document = parseDocument(text)
  const manager = ['static_resources', 'listeners', 0, 'filter_chains', 0, 'filters', 0, 'typed_config']
  const without = (path: readonly unknown[], name: string) => {
    for (let at = 0; document.hasIn([...path, at]); at++)
      if (document.getIn([...path, at, 'name']) === name) return document.deleteIn([...path, at])
    throw new Error(`envoy.yaml has no ${name}`)
  }
  without([...manager, 'http_filters'], 'envoy.filters.http.jwt_authn')
  without(['static_resources', 'clusters'], 'users_jwks')
  const virtualHosts = [...manager, 'route_config', 'virtual_hosts']
  const { routes } = (
    document.toJS() as { static_resources: { listeners: { filter_chains: { filters: { typed_config: Manager }[] }[] }[] } }
  ).static_resources.listeners[0]!.filter_chains[0]!.filters[0]!.typed_config.route_config.virtual_hosts[0]!
  const perRoute = (realm: string) => ({
    'envoy.filters.http.ext_authz': {
      '@type': 'type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute',
      check_settings: { context_extensions: { realm } },
    },
  })
  document.setIn(
    virtualHosts,
    Object.entries(hosts).map(([host, realm]) => ({
      name: host,
      domains: [host],
      ...(realm === undefined ? {} : { typed_per_filter_config: perRoute(realm) }),
      routes,
    })),
  )
  return String(document)
}

interface Manager {
  readonly route_config: { readonly virtual_hosts: readonly { readonly routes: readonly unknown[] }[] }
}
