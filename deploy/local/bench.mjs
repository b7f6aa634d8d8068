/**
 * `npm run bench [-- OPTIONS]`: finds Node, installs and builds what is missing, and runs bench/run.ts, which measures
 * Postern beside its peers. `-- --help` tells its options. Linux only: it reads CPU times from /proc. With `--direct` it runs
 * bench/direct/run.ts in its place: what a router between Envoy and a new sandbox costs.
 */
import { join } from 'node:path'
import { runAttached } from './attached.mjs'
import { checkout } from './cache.mjs'
import { SetupError } from './command.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'

try {
  if (process.platform !== 'linux') throw new SetupError(`this is ${process.platform}: CPU times are read from Linux's /proc`)
  const node = await ensureNode()
  await ensurePackages()
  await ensureBuild()
  const args = process.argv.slice(2)
  runAttached(node, [join(checkout, args.includes('--direct') ? 'bench/direct/run.ts' : 'bench/run.ts'), ...args])
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 1
}
