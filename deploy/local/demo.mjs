/**
 * `npm run demo`: installs and builds what is missing, obtains Envoy, and runs deploy/demo/run.ts with a Node that is new
 * enough. `-- --once` ends after the tour, with 0 only if every step came out as it should.
 */
import { join } from 'node:path'
import { runAttached } from './attached.mjs'
import { checkout, step } from './cache.mjs'
import { SetupError } from './command.mjs'
import { ensureEnvoy } from './envoy.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'

try {
  step('looking for Node 24 or newer')
  const node = await ensureNode()
  step('looking for npm packages')
  await ensurePackages()
  step('looking for a build')
  await ensureBuild()
  step('looking for Envoy')
  const envoy = await ensureEnvoy()
  runAttached(node, [join(checkout, 'deploy/demo/run.ts'), ...process.argv.slice(2)], { POSTERN_TEST_ENVOY: envoy })
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`demo: ${error.message}\n`)
  process.exitCode = 1
}
