/** What the tests of workload identity federation run against: a SPIRE server and agent, and a Kubernetes API server. */
import { dirname } from 'node:path'
import { ensureKubernetes } from './kubernetes.mjs'
import { ensureSpire } from './spire.mjs'

/**
 * @param {string} node a Node that runs TypeScript
 * @returns {Promise<{ env: Record<string, string>, reasons: string[] }>} where the tests find them, and a sentence for each that cannot be had
 */
export async function ensureFederation(node) {
  /** @type {Record<string, string>} */
  const env = {}
  const reasons = []
  const spire = await ensureSpire()
  if ('server' in spire) env.POSTERN_TEST_SPIRE = dirname(spire.server)
  else reasons.push(spire.reason)
  const kubernetes = await ensureKubernetes(node)
  if ('apiServer' in kubernetes) {
    env.POSTERN_TEST_KUBERNETES = kubernetes.apiServer
    env.POSTERN_TEST_ETCD = kubernetes.etcd
  } else reasons.push(kubernetes.reason)
  return { env, reasons }
}
