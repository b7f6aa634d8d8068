/** Authorino, with the Kubernetes API that it needs, in a network namespace of its own: it listens on all addresses. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run, which } from '../../deploy/local/command.mjs'
import { until } from '../../test/support/until.ts'
import type { Peer, Running, StartOptions } from '../peer.ts'
import { startServer } from '../process.ts'
import { authConfigs } from './authorino/configs.ts'
import { startKubernetes } from './authorino/kubernetes.ts'
import { openNamespace } from './authorino/namespace.ts'
import { buildPrograms, version } from './authorino/programs.ts'
import { PeerUnavailable } from './build.ts'
import { readJob } from './job.ts'

/** The port that it listens on unless told otherwise; in its namespace nobody else does. */
const port = 50051
const capturedHost = '127.0.0.1'

async function prepare(): Promise<void> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0)
    throw new PeerUnavailable(
      'Authorino listens on all addresses: it is measured only where this runs as root on Linux, in a network namespace',
    )
  for (const program of ['unshare', 'nsenter', 'ip'])
    if (which(program) === undefined) throw new PeerUnavailable(`Authorino needs a network namespace: ${program} is not on PATH`)
  await buildPrograms()
}

async function start({ folder, routes, owners = 0 }: StartOptions): Promise<Running> {
  const programs = await buildPrograms()
  const job = readJob(routes, owners)
  const measured = job.routes.at(-1)?.id ?? ''
  const objects = join(folder, 'objects.json')
  const definition = readFileSync(join(programs.crds, 'authorino.kuadrant.io_authconfigs.yaml'), 'utf8')
  writeFileSync(objects, JSON.stringify({ definition, configs: authConfigs(job, capturedHost, measured) }))

  const stops: (() => Promise<void>)[] = []
  const stop = async () => {
    for (const one of stops.splice(0).reverse()) await one()
  }
  try {
    const namespace = await openNamespace(folder, join(folder, 'namespace.log'))
    stops.push(namespace.stop)
    const { inside } = namespace
    const kubernetes = startKubernetes(programs, namespace, folder)
    stops.push(kubernetes.stop)
    const apply = async (...mode: readonly string[]) => {
      await until(
        'the certificate of the Kubernetes API',
        () => {
          if (!kubernetes.running()) throw new Error(`the Kubernetes API ended instead of serving:\n${kubernetes.tail()}`)
          return readable(kubernetes.ca)
        },
        60_000,
      )
      const script = fileURLToPath(new URL('authorino/apply.ts', import.meta.url))
      const env = { TOKEN: kubernetes.token, NODE_EXTRA_CA_CERTS: kubernetes.ca }
      await run(inside[0], [...inside.slice(1), process.execPath, script, kubernetes.url, objects, ...mode], { env })
    }
    await apply()
    const [first, ...rest] = [...inside, programs.authorino, 'server', '--log-level', 'error']
    const authorino = startServer(first ?? '', rest, {
      cwd: folder,
      env: { KUBECONFIG: kubernetes.kubeconfig },
      log: join(folder, 'peer.log'),
    })
    stops.push(authorino.stop)
    await apply('--ready').catch((cause: unknown) => {
      throw new Error(`Authorino took no AuthConfigs:\n${authorino.tail()}`, { cause })
    })
    return { target: `127.0.0.1:${port}`, pids: () => [authorino.pid], stop, inside }
  } catch (error) {
    await stop()
    throw error
  }
}

function readable(path: string): boolean {
  try {
    return readFileSync(path).length > 0
  } catch {
    return false
  }
}

export const authorino: Peer = { name: 'Authorino', version, prepare, start }
