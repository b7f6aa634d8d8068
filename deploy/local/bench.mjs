/**
 * `npm run bench [-- OPTIONS]`: finds Node, installs and builds what is missing, and runs bench/run.ts, which measures
 * Postern beside its peers. `-- --help` tells its options. Linux only: it reads CPU times from /proc. With `--direct` it runs
 * bench/direct/run.ts in its place: what a router between Envoy and a new sandbox costs; with `--upstreams` bench/upstreams/run.ts: what
 * mTLS to a new sandbox costs.
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
  const other = ['direct', 'upstreams'].find((name) => args.includes(`--${name}`))
  runAttached(node, [join(checkout, other === undefined ? 'bench/run.ts' : `bench/${other}/run.ts`), ...args])
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 1
}
