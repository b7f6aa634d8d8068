import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type RunningKubernetes, startKubernetes } from '../federation/real/kubernetes.ts'
import { freePorts } from '../support/free-port.ts'
import { type Program, startProgram } from '../support/program.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { apply, type Manifest, objectsOf, shippedFile } from './manifests.ts'

const execute = promisify(execFile)

/** A registration entry, as `spire-server entry show -output json` has it. */
export interface Entry {
  readonly id: string
  readonly spiffe_id: { readonly trust_domain: string; readonly path: string }
  readonly parent_id: { readonly trust_domain: string; readonly path: string }
  readonly selectors: readonly { readonly type: string; readonly value: string }[]
  readonly x509_svid_ttl: number
  readonly dns_names: readonly string[]
}

/** A real API server with what SPIRE needs of it, and SPIRE's programs with the files that the manifests hold. */
export interface Cluster {
  readonly kubernetes: RunningKubernetes
  readonly apply: (manifest: Manifest, dryRun?: boolean) => Promise<Manifest>
  /** The definitions of the controller manager's release. */
  readonly applyDefinitions: () => Promise<void>
  /** Runs `spire-server` with these arguments. */
  readonly server: (...args: readonly string[]) => Promise<string>
  readonly entries: () => Promise<readonly Entry[]>
  readonly startServer: () => Promise<void>
  /** @param token of its service account, bound to its pod, for the server @param kubelet port of that of its node */
  readonly startAgent: (token: string, kubelet: number) => Promise<void>
  /** The socket of that agent. */
  readonly agentSocket: string
  /** With its webhook where this process may give it a folder of secrets; else without. */
  readonly startManager: (withWebhook: boolean) => Promise<void>
  readonly stop: () => Promise<void>
}

/** Which program is missing for these tests; undefined: none. */
export const withoutCluster = (): string | undefined =>
  (['POSTERN_TEST_SPIRE', 'POSTERN_TEST_SPIRE_CONTROLLER_MANAGER', 'POSTERN_TEST_KUBERNETES', 'POSTERN_TEST_ETCD'] as const).find(
    (name) => process.env[name] === undefined,
  )

/** Whether a program can be given another /run, as the manager's webhook needs it: it reads its credentials there, and nowhere else. */
export const mayMount = async (): Promise<boolean> =>
  execute('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs tmpfs /run']).then(
    () => true,
    () => false,
  )

export async function startCluster(): Promise<Cluster> {
  const kubernetes = await startKubernetes()
  const folder = temporaryFolder('spire')
  const running: Program[] = []
  const programs = process.env['POSTERN_TEST_SPIRE'] ?? ''
  const manager = process.env['POSTERN_TEST_SPIRE_CONTROLLER_MANAGER'] ?? ''
  const socket = folder.file('api.sock')
  const [serverPort = 0, serverHealth = 0, agentHealth = 0, managerHealth = 0] = await freePorts(4)
  const begin = async (name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv, ready: () => Promise<boolean>) => {
    const program = startProgram(command, args, { env })
    running.push(program)
    const told = () => new Error(`${name} does not run:\n${[...program.stdout, ...program.stderr].slice(-15).join('\n')}`)
    const look = async (): Promise<boolean> => {
      if (!program.running()) throw told()
      return ready()
    }
    await until(`${name} to be ready`, look, 30_000).catch((cause) => {
      throw new Error(told().message, { cause })
    })
  }
  const server = async (...args: readonly string[]): Promise<string> =>
    (await execute(join(programs, 'spire-server'), [...args, '-socketPath', socket])).stdout
  const kubeconfig = async (): Promise<string> => kubeconfigOf(folder, kubernetes, await kubernetes.token('spire', 'spire-server'))
  return {
    kubernetes,
    apply: (manifest, dryRun) => apply(kubernetes, manifest, dryRun),
    applyDefinitions: async () => {
      for (const name of readdirSync(join(manager, 'crd')))
        for (const one of objectsOf(readFileSync(join(manager, 'crd', name), 'utf8'))) await apply(kubernetes, one)
    },
    server,
    entries: async () => (JSON.parse(await server('entry', 'show', '-output', 'json')) as { entries: Entry[] }).entries,
    startServer: async () => {
      mkdirSync(folder.file('server'), { mode: 0o700 })
      const config = await kubeconfig()
      const text = shippedFile('spire-server', 'server.conf', {
        'bind_address = "0.0.0.0"': 'bind_address = "127.0.0.1"',
        'bind_port = "8081"': `bind_port = "${serverPort}"`,
        'bind_port = "8080"': `bind_port = "${serverHealth}"`,
        '/tmp/spire-server/private/api.sock': socket,
        '/run/spire/data': folder.file('server'),
        // In a pod both find the API server themselves.
        'audience = ["spire-server"]': `audience = ["spire-server"]\n kube_config_file = "${config}"`,
        'namespace = "spire"': `namespace = "spire"\n kube_config_file_path = "${config}"`,
      })
      const file = write(folder, 'server.conf', text)
      await begin('spire-server', join(programs, 'spire-server'), ['run', '-config', file], {}, () => answersAt(serverHealth, '/ready'))
    },
    agentSocket: folder.file('agent.sock'),
    startAgent: async (token, kubelet) => {
      mkdirSync(folder.file('agent'), { mode: 0o700 })
      const own = write(folder, 'own-token', await kubernetes.token('spire', 'spire-agent'))
      const text = shippedFile('spire-agent', 'agent.conf', {
        'server_address = "spire-server.spire.svc"': 'server_address = "127.0.0.1"',
        'server_port = "8081"': `server_port = "${serverPort}"`,
        'bind_port = "9982"': `bind_port = "${agentHealth}"`,
        '/run/spire/agent-sockets/spire-agent.sock': folder.file('agent.sock'),
        '/run/spire/data': folder.file('agent'),
        '/run/spire/bundle/bundle.crt': write(folder, 'bundle.crt', await server('bundle', 'show')),
        '/var/run/secrets/tokens/spire-agent': write(folder, 'token', token),
        // In a pod its token is where it looks by itself, and the kubelet at the port that all have.
        'skip_kubelet_verification = true': `skip_kubelet_verification = true\n token_path = "${own}"\n kubelet_secure_port = ${kubelet}`,
      })
      const file = write(folder, 'agent.conf', text)
      await begin('spire-agent', join(programs, 'spire-agent'), ['run', '-config', file], {}, () => answersAt(agentHealth, '/ready'))
    },
    startManager: async (withWebhook) => {
      const text = shippedFile('spire-controller-manager', 'config.yaml', {
        '/spire-server/api.sock': socket,
        '127.0.0.1:8082': '0',
        '":8083"': `"127.0.0.1:${managerHealth}"`,
      })
      const args = ['-config', write(folder, 'manager.yaml', text)]
      const program = join(manager, 'spire-controller-manager')
      const ready = () => answersAt(managerHealth, '/readyz')
      const env = { KUBECONFIG: await kubeconfig() }
      if (!withWebhook) return begin('the controller manager', program, args, { ...env, ENABLE_WEBHOOKS: 'false' }, ready)
      const secrets = folder.file('secrets')
      mkdirSync(secrets)
      write(folder, 'secrets/token', await kubernetes.token('spire', 'spire-server'))
      write(folder, 'secrets/ca.crt', readFileSync(kubernetes.ca, 'utf8'))
      const account = '/run/secrets/kubernetes.io/serviceaccount'
      const script = `mount -t tmpfs tmpfs /run && mkdir -p ${account} && cp "$1"/* ${account}/ && shift && exec "$@"`
      const url = new URL(kubernetes.url)
      const pod = { ...env, KUBERNETES_SERVICE_HOST: url.hostname, KUBERNETES_SERVICE_PORT: url.port }
      await begin('the controller manager', 'unshare', ['-m', 'sh', '-c', script, 'sh', secrets, program, ...args], pod, ready)
    },
    stop: async () => {
      for (const program of running.reverse()) await program.stop()
      await kubernetes.stop()
      folder.remove()
    },
  }
}

function write(folder: TemporaryFolder, name: string, text: string): string {
  writeFileSync(folder.file(name), text, { mode: 0o600 })
  return folder.file(name)
}

const kubeconfigOf = (folder: TemporaryFolder, { url, ca }: RunningKubernetes, token: string): string =>
  write(
    folder,
    'kubeconfig',
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'test',
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
      clusters: [{ name: 'test', cluster: { server: url, 'certificate-authority': ca } }],
      users: [{ name: 'test', user: { token } }],
    }),
  )

const answersAt = (port: number, path: string): Promise<boolean> =>
  fetch(`http://127.0.0.1:${port}${path}`).then(
    ({ ok }) => ok,
    () => false,
  )
