/**
 * `npm run bench [-- OPTIONS]`: finds Node, installs and builds what is missing, and runs bench/run.ts, which measures
 * Postern beside its peers. `-- --help` tells its options. Linux only: it reads CPU times from /proc.
 */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { checkout } from './cache.mjs'
import { SetupError } from './command.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'

try {
  if (process.platform !== 'linux') throw new SetupError(`this is ${process.platform}: CPU times are read from Linux's /proc`)
  const node = await ensureNode()
  await ensurePackages()
  await ensureBuild()
  const child = spawn(node, [join(checkout, 'bench/run.ts'), ...process.argv.slice(2)], {
    stdio: 'inherit',
    env: { ...process.env, NODE_OPTIONS: '' },
  })
  // The terminal's Ctrl-C reaches the child by itself; this process waits until it has cleaned up.
  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.on(name, () => name !== 'SIGINT' && child.kill('SIGTERM'))
  child.on('exit', (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 1
  })
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 1
}
