import { spawn } from 'node:child_process'

/**
 * Runs a Node program in the place of this one: it has the terminal, gets the signals, and its exit code becomes ours.
 * @param {string} node
 * @param {readonly string[]} args
 * @param {Readonly<Record<string, string>>} [env] beside that of this process, but for NODE_OPTIONS
 */
export function runAttached(node, args, env = {}) {
  const child = spawn(node, args, { stdio: 'inherit', env: { ...process.env, ...env, NODE_OPTIONS: '' } })
  // The terminal's Ctrl-C reaches the child by itself; this process waits until it has cleaned up.
  for (const name of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']))
    process.on(name, () => name !== 'SIGINT' && child.kill('SIGTERM'))
  child.on('exit', (code, signal) => {
    process.exitCode = signal === null ? (code ?? 1) : 1
  })
}
