/** Finds a Kubernetes API server and its etcd for the tests, or has them built from source with Go, as the benchmarks do. */
import { checkout } from './cache.mjs'
import { run, SetupError, which } from './command.mjs'

const buildTime = 2_400_000
const script = "import { buildKubernetes } from './bench/peers/authorino/programs.ts'\nconsole.log(JSON.stringify(await buildKubernetes()))"

/**
 * @param {string} node a Node that runs TypeScript
 * @returns {Promise<{ apiServer: string, etcd: string } | { reason: string }>} absolute paths, or why there are none
 * @throws {SetupError} when they cannot be fetched or built
 */
export async function ensureKubernetes(node) {
  if (which('go') === undefined) return { reason: 'the Kubernetes API server is built by Go 1.26 or newer, and go is not on PATH' }
  const said = await run(node, ['--input-type=module', '--eval', script], { cwd: checkout, limit: buildTime })
  const paths = JSON.parse(said.trim().split('\n').at(-1) ?? '')
  if (typeof paths?.apiServer === 'string' && typeof paths?.etcd === 'string') return paths
  throw new SetupError('the build of the Kubernetes API server named no programs')
}
