import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { issueCertificate, makeAuthority } from '../../deploy/local/certificates.mjs'
import type { RunningKubernetes } from '../federation/real/kubernetes.ts'

/** What the agent asks of a kubelet: which pods its node runs. */
export interface Kubelet {
  readonly port: number
  /** How often it has told. */
  readonly asked: () => number
  readonly stop: () => Promise<void>
}

interface Reviewed {
  readonly status: { readonly authenticated?: boolean; readonly allowed?: boolean; readonly user?: { username: string; groups: string[] } }
}

/**
 * Answers `GET /pods` of a node with the pods that the API server has for it. As a kubelet does, it lets in who the API server
 * says may `get` `nodes/pods` of this node; its certificate is its own.
 */
export async function startKubelet({ call }: RunningKubernetes, node: string): Promise<Kubelet> {
  let asked = 0
  const mayAsk = async (token: string): Promise<boolean> => {
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } }
    const { status } = (await call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', review)) as unknown as Reviewed
    if (status.authenticated !== true || status.user === undefined) return false
    const { username: user, groups } = status.user
    const resourceAttributes = { verb: 'get', resource: 'nodes', subresource: 'pods', name: node }
    const access = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', spec: { user, groups, resourceAttributes } }
    const said = (await call('POST', '/apis/authorization.k8s.io/v1/subjectaccessreviews', access)) as unknown as Reviewed
    return said.status.allowed === true
  }
  const answer = async (path: string, token: string): Promise<[status: number, body: unknown]> => {
    if (path !== '/pods') return [404, {}]
    if (!(await mayAsk(token))) return [403, {}]
    asked += 1
    return [200, await call('GET', `/api/v1/pods?fieldSelector=spec.nodeName=${node}`)]
  }
  const { certificate, key } = issueCertificate(makeAuthority('kubelet'), { commonName: node, ip: ['127.0.0.1'] })
  const server = createServer({ cert: certificate, key }, (request, response) => {
    answer(request.url ?? '', (request.headers.authorization ?? '').replace('Bearer ', '')).then(
      ([status, body]) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body)),
      (error) => response.writeHead(500).end(String(error)),
    )
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  return {
    port: (server.address() as AddressInfo).port,
    asked: () => asked,
    stop: () =>
      new Promise((done) => {
        server.close(() => done())
        server.closeAllConnections()
      }),
  }
}
