/** A Kubernetes API in a network namespace: etcd and kube-apiserver, without kubelet or controllers. */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Server, startServer } from '../../process.ts'
import type { Namespace } from './namespace.ts'
import type { Programs } from './programs.ts'

const port = 6443

export interface Kubernetes {
  /** Its URL inside the namespace. */
  readonly url: string
  /** A bearer token that may do everything. */
  readonly token: string
  /** The PEM file of its own certificate, which is there once it listens. */
  readonly ca: string
  readonly kubeconfig: string
  readonly running: () => boolean
  readonly tail: () => string
  readonly stop: () => Promise<void>
}

/** Starts both, and does not wait. */
export function startKubernetes(programs: Programs, { inside }: Namespace, folder: string): Kubernetes {
  const start = (name: string, ...command: readonly string[]): Server => {
    const [first, ...rest] = [...inside, ...command] as [string, ...string[]]
    return startServer(first, rest, { cwd: folder, log: join(folder, `${name}.log`) })
  }
  const token = randomBytes(24).toString('hex')
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 })
    return join(folder, name)
  }
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const key = file('service-accounts.pem', privateKey)
  const tokens = file('tokens.csv', `${token},bench,bench,"system:masters"\n`)
  const etcd = start('etcd', programs.etcd, '--data-dir', join(folder, 'etcd'), '--log-level', 'error', '--unsafe-no-fsync')
  const certificates = join(folder, 'certificates')
  const server = start(
    'kube-apiserver',
    programs.apiServer,
    '--etcd-servers=http://127.0.0.1:2379',
    '--bind-address=127.0.0.1',
    // What it tells others to reach it at; it refuses loopback for that.
    '--advertise-address=192.0.2.1',
    `--secure-port=${port}`,
    `--cert-dir=${certificates}`,
    '--service-cluster-ip-range=10.0.0.0/24',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${key}`,
    `--service-account-signing-key-file=${key}`,
    `--token-auth-file=${tokens}`,
    '--authorization-mode=RBAC',
    '--disable-admission-plugins=ServiceAccount',
  )
  const url = `https://127.0.0.1:${port}`
  const ca = join(certificates, 'apiserver.crt')
  return {
    url,
    token,
    ca,
    kubeconfig: file('kubeconfig', kubeconfig(url, ca, token)),
    running: () => etcd.running() && server.running(),
    tail: () => [etcd.tail(), server.tail()].join('\n'),
    stop: async () => {
      await server.stop()
      await etcd.stop()
    },
  }
}

/** In JSON, which YAML includes. */
function kubeconfig(server: string, ca: string, token: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'bench', cluster: { server, 'certificate-authority': ca } }],
    users: [{ name: 'bench', user: { token } }],
    contexts: [{ name: 'bench', context: { cluster: 'bench', user: 'bench' } }],
    'current-context': 'bench',
  })
}
