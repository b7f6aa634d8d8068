/**
 * `npm run fuzz [-- OPTIONS]`: finds Node and Envoy, installs and builds what is missing, and runs test/fuzz/run.ts, which tries
 * every property on many random inputs. `-- --help` tells its options.
 */
import { join } from 'node:path'
import { runAttached } from './attached.mjs'
import { checkout } from './cache.mjs'
import { SetupError } from './command.mjs'
import { ensureEnvoy } from './envoy.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'

try {
  const node = await ensureNode()
  await ensurePackages()
  await ensureBuild()
  const args = process.argv.slice(2)
  /** @type {Record<string, string>} */
  const env = {}
  // For the property that asks a real one.
  if (!args.some((arg) => arg === '--help' || arg === '--list')) env.POSTERN_TEST_ENVOY = await ensureEnvoy()
  runAttached(node, [join(checkout, 'test/fuzz/run.ts'), ...args], env)
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`fuzz: ${error.message}\n`)
  process.exitCode = 1
}
