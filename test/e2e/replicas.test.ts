import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Edge, fixture, startEdge } from '../support/edge.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { request } from '../support/request.ts'

/** Two replicas behind envoy/tcp-mtls.yaml, of which one goes away without a word. */
describe('a replica that is killed', function () {
  this.timeout(60_000)
  let edge: Edge
  let second: RunningPostern
  let ports: number[]

  before(async () => {
    ports = await freePorts(3)
    const [check = 0, admin = 0, issuer = 0] = ports
    edge = await startEdge(
      'tcp-mtls.yaml',
      fixture('edge-tcp-mtls.yaml'),
      async (policy, at) => {
        const other = policy
          .replace(at.check, `127.0.0.1:${check}`)
          .replaceAll(at.admin, `127.0.0.1:${admin}`)
          .replaceAll(at.issuer, `127.0.0.1:${issuer}`)
        const [first, next] = await Promise.all([startPostern(policy), startPostern(other)])
        second = next
        return first
      },
      1,
      (text) => withEndpoint(text, check),
    )
  })
  after(async () => {
    await edge?.stop()
    await second?.stop()
  })

  it('costs the requests that it had, and no others', async () => {
    const token = await edge.users.mint({ sub: 'alice', aud: 'agentcube-router', realm_access: { roles: ['sandbox:manage'] } })
    const failed: { begun: number; ended: number; status: number }[] = []
    let answered = 0
    const one = async (): Promise<void> => {
      const begun = performance.now()
      const headers = { authorization: `Bearer ${token}` }
      const { status } = await request({ port: edge.port, tls: edge.tls(), method: 'POST', path: '/v1/sandboxes', headers, body: '{}' })
      if (status === 200 || status === 201) answered += 1
      else failed.push({ begun, ended: performance.now(), status })
    }
    // Both are known to be healthy, and have connections.
    for (let i = 0; i < 20; i++) await one()
    assert.deepEqual([answered, failed], [20, []])
    const open: Promise<void>[] = []
    let killed = Number.POSITIVE_INFINITY
    let heard = Number.POSITIVE_INFINITY
    const end = performance.now() + 5_000
    while (performance.now() < end) {
      open.push(one())
      if (killed === Number.POSITIVE_INFINITY && performance.now() > end - 4_000) {
        killed = performance.now()
        void second.kill().then(() => {
          heard = performance.now()
        })
      }
      await sleep(10)
    }
    await Promise.all(open)
    assert.ok(answered > 150, `${answered} answered`)
    // Whoever asked it before it was gone.
    const later = failed.filter(({ begun }) => begun > heard + 50)
    assert.deepEqual(later, [])
    assert.ok(failed.length < 20, `${failed.length} failed`)
    assert.ok(failed.every(({ status, ended }) => status === 503 && ended > killed))
    const retried = await edge.envoy.admin('/stats?filter=cluster.postern.upstream_rq_per_try_timeout')
    assert.match(retried, /: 0\s*$/)
  })
})

/** The cluster of Postern gets another host. */
function withEndpoint(text: string, port: number): string {
  const endpoints = /(cluster_name: postern\n\s+endpoints: \[\{ lb_endpoints: \[)(\{[^\n]*?\})(\] \}\])/
  const found = endpoints.exec(text)
  if (!found) throw new Error('tcp-mtls.yaml was expected to name the endpoint of Postern')
  const [, before = '', one = '', after = ''] = found
  return text.replace(endpoints, `${before}${one}, ${one.replace(/port_value: \d+/, `port_value: ${port}`)}${after}`)
}
