/**
 * `npm run -s postern -- ARGS` on any Node from 20 on: installs and builds if needed, finds a Node that is new enough, and runs
 * dist/main.js with it in the caller's process group and folder. Says nothing on stdout itself.
 */
import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { join } from 'node:path'
import { checkout } from './cache.mjs'
import { SetupError } from './command.mjs'
import { ensureNode } from './node.mjs'
import { ensureBuild, ensurePackages } from './packages.mjs'

const forwarded = /** @type {const} */ (['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT'])

/** @type {import('node:child_process').ChildProcess | undefined} */
let child
// npm starts scripts through a shell, which may die of a signal without handing it on: then its going is the signal.
if (process.env.npm_lifecycle_event) {
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    process.kill(process.pid, 'SIGTERM')
  }, 200)
  watch.unref()
}
for (const name of forwarded) {
  process.on(name, () => {
    if (child === undefined) process.exit(128 + constants.signals[name])
    // A Ctrl-C reaches the child from the terminal too: the child must take a second signal as it takes one.
    child.kill(name)
  })
}

try {
  await ensurePackages()
  await ensureBuild()
  const node = await ensureNode()
  // npm runs this in the package's folder; paths in the arguments are meant from where the caller stands.
  const cwd = process.env.INIT_CWD || process.cwd()
  child = spawn(node, [join(checkout, 'dist/main.js'), ...process.argv.slice(2)], { cwd, stdio: 'inherit' })
  child.on('error', (error) => {
    process.stderr.write(`cannot run ${node}: ${error.message}\n`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    // The caller sees the same end as the child's. SIGKILL and the like cannot be listened for, so only ours are let go.
    for (const name of forwarded) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
} catch (error) {
  if (!(error instanceof SetupError)) throw error
  process.stderr.write(`postern: ${error.message}\n`)
  process.exitCode = 1
}
