/**
 * `npm run attacks [-- OPTIONS]`: installs and builds what is missing, obtains Envoy and Redis, and runs the attack corpus
 * (test/attacks) against Postern, or against another ext_authz server. `-- --help` tells its options.
 */
import { join } from 'node:path'
import { runAttached } from './attached.mjs'
import { checkout } from './cache.mjs'
import { SetupError } from './command.mjs'
import { ensureEnvoy } from './envoy.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'
import { ensureRedis } from './redis.mjs'

const args = process.argv.slice(2)
/** What is answered from the cases alone. */
const asksNobody = args.includes('--count') || args.includes('--help')

try {
  const node = await ensureNode()
  await ensurePackages()
  if (!asksNobody) await ensureBuild()
  const env = asksNobody ? {} : { POSTERN_TEST_ENVOY: await ensureEnvoy(), POSTERN_TEST_REDIS: await ensureRedis() }
  runAttached(node, [join(checkout, 'test/attacks/main.ts'), ...args], env)
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`attacks: ${error.message}\n`)
  process.exitCode = 1
}
