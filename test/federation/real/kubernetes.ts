import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { testCertificates } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { type Program, startProgram } from '../../support/program.ts'
import type { TemporaryFolder } from '../../support/temporary-folder.ts'
import { until } from '../../support/until.ts'
import { startTogether } from './together.ts'

export interface RunningKubernetes {
  /** Of the API server, and the `iss` of its tokens. */
  readonly url: string
  /** PEM file of the authority of its certificate. */
  readonly ca: string
  readonly createServiceAccount: (namespace: string, name: string) => Promise<void>
  readonly deleteServiceAccount: (namespace: string, name: string) => Promise<void>
  /** TokenRequest (authentication.k8s.io/v1) of a service account. @param audiences absent: that of the API server */
  readonly token: (namespace: string, name: string, audiences?: readonly string[]) => Promise<string>
  /** Asks the API. @throws where the answer is no 2xx */
  readonly call: (method: string, path: string, body?: unknown) => Promise<Readonly<Record<string, unknown>>>
  /** The token of an administrator. */
  readonly admin: string
  /** URL of the etcd behind it. */
  readonly etcd: string
  /** SIGKILL to the API server alone. */
  readonly killApi: () => Promise<void>
  /** Starts it again, at the same address, and waits until it serves. */
  readonly startApi: () => Promise<void>
  readonly stop: () => Promise<void>
}

/**
 * Starts an API server over an etcd of its own. As in a cluster, who is not authenticated cannot read its discovery document.
 * Needs POSTERN_TEST_KUBERNETES and POSTERN_TEST_ETCD, the programs, as `npm test` sets them.
 */
export async function startKubernetes(): Promise<RunningKubernetes> {
  const { POSTERN_TEST_KUBERNETES: apiServer, POSTERN_TEST_ETCD: etcd } = process.env
  if (apiServer === undefined || etcd === undefined)
    throw new Error('POSTERN_TEST_KUBERNETES and POSTERN_TEST_ETCD are not set: run these tests with `npm test -- workloads`')
  return startTogether('Kubernetes', (folder, running) => start(apiServer, etcd, folder, running))
}

async function start(
  apiServer: string,
  etcd: string,
  folder: TemporaryFolder,
  running: Program[],
): Promise<Omit<RunningKubernetes, 'stop'>> {
  const [port, clientPort, peerPort] = [await freePort(), await freePort(), await freePort()]
  const certificates = testCertificates(folder.path, 'kubernetes')
  const own = certificates.server('apiserver')
  const keys = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const file = (name: string, text: string): string => {
    writeFileSync(folder.file(name), text, { mode: 0o600 })
    return folder.file(name)
  }
  const signing = file('service-accounts.pem', keys.privateKey)
  const admin = randomBytes(24).toString('hex')
  const url = `https://127.0.0.1:${port}`
  const [client, peer] = [`http://127.0.0.1:${clientPort}`, `http://127.0.0.1:${peerPort}`]
  const options = [
    `--etcd-servers=${client}`,
    '--bind-address=127.0.0.1',
    // What it tells others to reach it at; it refuses loopback for that.
    '--advertise-address=192.0.2.1',
    `--secure-port=${port}`,
    `--tls-cert-file=${own.cert}`,
    `--tls-private-key-file=${own.key}`,
    '--service-cluster-ip-range=10.0.0.0/24',
    `--service-account-issuer=${url}`,
    `--service-account-jwks-uri=${url}/openid/v1/jwks`,
    `--service-account-key-file=${signing}`,
    `--service-account-signing-key-file=${signing}`,
    `--token-auth-file=${file('tokens.csv', `${admin},admin,admin,"system:masters"\n`)}`,
    '--authorization-mode=RBAC',
    '--anonymous-auth=false',
    '--disable-admission-plugins=ServiceAccount',
    // As in most clusters: Pod security decides who may be privileged.
    '--allow-privileged=true',
  ]
  running.push(
    startProgram(etcd, [
      ...['--data-dir', folder.file('etcd'), '--log-level', 'error', '--unsafe-no-fsync'],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
    ]),
  )
  let api = startProgram(apiServer, options)
  running.push(api)
  const ca = readFileSync(certificates.ca, 'utf8')
  const call: RunningKubernetes['call'] = (method, path, body) => ask(`${url}${path}`, { method, ca, token: admin, body })
  await until('the API server to serve', () => succeeds(call('GET', '/api/v1/namespaces/default')), 60_000)
  // Its own roles come shortly after; who reads the keys needs one of them.
  const review = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    spec: {
      user: 'system:serviceaccount:default:any',
      groups: ['system:serviceaccounts'],
      nonResourceAttributes: { path: '/.well-known/openid-configuration', verb: 'get' },
    },
  }
  await until('service accounts to be allowed to read the keys', async () => {
    const { status } = await call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', review)
    return (status as { allowed: boolean }).allowed
  })
  const accounts = (namespace: string): string => `/api/v1/namespaces/${namespace}/serviceaccounts`
  return {
    url,
    ca: certificates.ca,
    call,
    admin,
    etcd: client,
    killApi: async () => {
      api.signal('SIGKILL')
      await api.ended
    },
    startApi: async () => {
      api = startProgram(apiServer, options)
      running.push(api)
      await until('the API server to serve again', () => succeeds(call('GET', '/api/v1/namespaces/default')), 60_000)
    },
    createServiceAccount: async (namespace, name) => {
      if (!(await succeeds(call('GET', `/api/v1/namespaces/${namespace}`))))
        await call('POST', '/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })
      await call('POST', accounts(namespace), { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } })
    },
    deleteServiceAccount: async (namespace, name) => void (await call('DELETE', `${accounts(namespace)}/${name}`)),
    token: async (namespace, name, audiences) => {
      const wanted = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: { audiences, expirationSeconds: 600 } }
      const answer = await call('POST', `${accounts(namespace)}/${name}/token`, wanted)
      return (answer['status'] as { token: string }).token
    },
  }
}

function ask(
  url: string,
  { method, ca, token, body }: { method: string; ca: string; token: string; body: unknown },
): Promise<Readonly<Record<string, unknown>>> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const headers = { authorization: `Bearer ${token}`, ...(text !== undefined && { 'content-type': 'application/json' }) }
    const asked = request(url, { method, ca, headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const said = Buffer.concat(chunks).toString()
        const status = response.statusCode ?? 0
        if (status < 200 || status > 299) reject(new Error(`${method} ${url} answered ${status}: ${said}`))
        else resolve(JSON.parse(said) as Readonly<Record<string, unknown>>)
      })
    })
    asked.on('error', reject)
    asked.end(text)
  })
}

async function succeeds(call: Promise<unknown>): Promise<boolean> {
  try {
    await call
    return true
  } catch {
    return false
  }
}
