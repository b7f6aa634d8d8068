/**
 * A sample workload manager: makes, lists and deletes sandboxes, and writes the `sub` of the exchanged token on them as their owner. In a
 * cluster each is a Sandbox object and, with --pods, a Pod. deploy/upstreams/README.md tells its flags.
 */
import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller, Demand } from '../../sdk/typescript/src/index.ts'
import { type ClusterOptions, inCluster } from './cluster.ts'
import { Flags, readCommon, UsageError } from './options.ts'
import { inMemory } from './sandboxes.ts'
import { Answer, json, run, serve, textOf } from './serve.ts'

const usage = `node deploy/upstreams/workloadmanager.ts --listen HOST:PORT --issuer URL (--memory | --pod-template FILE) [OPTIONS]

  --memory                 no cluster: sandboxes are names in memory
  --namespace NAME         where sandboxes are made (agentcube-system)
  --pod-template FILE      a Pod: deploy/upstreams/pod-templates/*.yaml
  --pods                   make the Pods too, where no controller makes them from the Sandbox objects
  --kube-url URL           the API server; absent: the cluster around this Pod, by its service account
  --kube-ca FILE, --kube-token-file FILE
  --mode mtls|jwt          the router's certificate and the token, or the token alone (mtls)
  --audience NAME          of tokens (workloadmanager)
The other flags are those of both samples: deploy/upstreams/README.md.
`

const collection = /^\/v1\/sandboxes(?:\?.*)?$/
const one = /^\/v1\/sandboxes\/([^/?]+)(?:\?.*)?$/
/** A name of Kubernetes (RFC 1123 label). */
const legalId = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/

await run('workloadmanager', usage, async () => {
  const own = ['namespace', 'pod-template', 'kube-url', 'kube-ca', 'kube-token-file']
  const flags = new Flags('workloadmanager', process.argv.slice(2), process.env, own, ['memory', 'pods'])
  const options = readCommon('workloadmanager', flags)
  const cluster = flags.on('memory') ? undefined : clusterOptions(flags)
  const sandboxes = cluster ? inCluster(cluster) : inMemory()
  const checked = options.resource === 'claim'

  const demand = ({ method, url = '' }: IncomingMessage): Demand | undefined => {
    if (collection.test(url) && (method === 'GET' || method === 'POST')) return { resource: checked ? 'none' : 'any' }
    const id = one.exec(url)?.[1]
    if (id === undefined || method !== 'DELETE' || !legalId.test(id)) return undefined
    return { resource: checked ? `sandbox:${id}` : 'any' }
  }

  const create = async (request: IncomingMessage, response: ServerResponse, { subject }: Caller): Promise<void> => {
    const id = idIn(await textOf(request)) ?? `sb-${randomUUID().slice(0, 13)}`
    if (!legalId.test(id)) throw new Answer(400, 'bad_id', 'expected a name of Kubernetes: a-z 0-9 -, at most 63')
    if (!(await sandboxes.create(id, subject))) throw new Answer(409, 'exists', `${id} is taken`)
    json(response, 201, { id, owner: subject }, { location: `/v1/sandboxes/${id}` })
  }
  const remove = async (id: string, response: ServerResponse, caller: Caller): Promise<void> => {
    // Where the token names no resource and nothing proves that the router asks, the owner is compared here: such a token might be replayed.
    if (!checked && caller.workload === undefined && (await sandboxes.ownerOf(id)) !== caller.subject)
      throw new Answer(404, 'not_found', `${id} is not the caller's`)
    if (!(await sandboxes.remove(id))) throw new Answer(404, 'not_found', `there is no ${id}`)
    response.writeHead(204).end()
  }

  const handle = async (request: IncomingMessage, response: ServerResponse, caller: Caller): Promise<void> => {
    const id = one.exec(request.url ?? '')?.[1]
    if (id !== undefined) return remove(id, response, caller)
    if (request.method === 'POST') return create(request, response, caller)
    json(response, 200, { items: (await sandboxes.list(caller.subject)).map((name) => ({ id: name, owner: caller.subject })) })
  }
  await serve({ name: 'workloadmanager', demand, handle, tells: { sandboxes: cluster ? cluster.namespace : 'memory' } }, options)
})

function clusterOptions(flags: Flags): ClusterOptions {
  const url = flags.text('kube-url')
  if (url !== undefined && !/^https:\/\//.test(url)) throw new UsageError(`--kube-url ${url}: expected https`)
  return {
    namespace: flags.text('namespace') ?? 'agentcube-system',
    podTemplate: flags.needed('pod-template'),
    pods: flags.on('pods'),
    access: url === undefined ? undefined : { url, ca: flags.needed('kube-ca'), tokenFile: flags.needed('kube-token-file') },
  }
}

/** @throws {Answer} 400 */
function idIn(body: string): string | undefined {
  if (body.trim() === '') return undefined
  let asked: unknown
  try {
    asked = JSON.parse(body)
  } catch {
    throw new Answer(400, 'bad_json', 'the body is no JSON')
  }
  const id = typeof asked === 'object' && asked !== null ? (asked as { id?: unknown }).id : asked
  if (id !== undefined && typeof id !== 'string') throw new Answer(400, 'bad_id', 'id: expected a string')
  return id
}
