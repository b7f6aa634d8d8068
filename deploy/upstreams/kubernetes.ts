import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:https'

/** How the API server is reached. The files are read for each call: tokens of service accounts rotate. */
export interface KubernetesAccess {
  readonly url: string
  readonly ca: string
  readonly tokenFile: string
}

/** The API server said no. */
export class KubernetesRefused extends Error {
  override readonly name = 'KubernetesRefused'
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export type Call = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: object) => Promise<Readonly<Record<string, unknown>>>

const account = '/var/run/secrets/kubernetes.io/serviceaccount'
const timeoutMs = 10_000

/** The cluster around this Pod. @throws {TypeError} where there is none */
export function ownCluster(env: NodeJS.ProcessEnv): KubernetesAccess {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = env
  if (!host || !port) throw new TypeError('there is no cluster around this process: expected --memory, or --kube-url')
  return { url: `https://${host.includes(':') ? `[${host}]` : host}:${port}`, ca: `${account}/ca.crt`, tokenFile: `${account}/token` }
}

/** Calls the API of Kubernetes: JSON, no redirects. */
export function openKubernetes({ url, ca, tokenFile }: KubernetesAccess): Call {
  const agent = new Agent({ keepAlive: true, minVersion: 'TLSv1.2' })
  return (method, path, body) =>
    new Promise((done, fail) => {
      const text = body && JSON.stringify(body)
      const headers = {
        accept: 'application/json',
        authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`,
        ...(text !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      }
      const options = { method, headers, agent, ca: readFileSync(ca, 'utf8'), signal: AbortSignal.timeout(timeoutMs) }
      const asked = request(`${url}${path}`, options, (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', fail)
        answer.on('end', () => {
          const status = answer.statusCode ?? 0
          const value = parsed(Buffer.concat(chunks).toString('utf8'))
          if (status >= 200 && status < 300) done(value)
          else fail(new KubernetesRefused(status, `${method} ${path}: ${status} ${String(value['message'] ?? '')}`))
        })
      })
      asked.on('error', fail)
      asked.end(text)
    })
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
