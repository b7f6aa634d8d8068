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
  const kubernetes = await findKubernetes(node)
  return { env: { ...env, ...kubernetes.env }, reasons: [...reasons, ...kubernetes.reasons] }
}

/**
 * The API server alone.
 * @param {string} node a Node that runs TypeScript
 * @returns {Promise<{ env: Record<string, string>, reasons: string[] }>} as {@link ensureFederation}
 */
export async function findKubernetes(node) {
  const found = await ensureKubernetes(node)
  if (!('apiServer' in found)) return { env: {}, reasons: [found.reason] }
  return { env: { POSTERN_TEST_KUBERNETES: found.apiServer, POSTERN_TEST_ETCD: found.etcd }, reasons: [] }
}
