/** Where the checkout is, where what these scripts fetch is kept, and the progress line. */
import { mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The checkout: the folder that holds package.json. */
export const checkout = resolve(fileURLToPath(import.meta.url), '../../..')

const started = performance.now()

/**
 * The folder that holds what these scripts fetch: $POSTERN_CACHE, else $XDG_CACHE_HOME/postern, else ~/.cache/postern.
 * @param {...string} parts a path inside it
 * @returns {string} an absolute path; its parent exists
 */
export function cachePath(...parts) {
  const root = process.env.POSTERN_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'postern')
  const path = resolve(root, ...parts)
  mkdirSync(parts.length === 0 ? path : resolve(path, '..'), { recursive: true })
  return path
}

/**
 * Says on stderr what is being done, with the seconds since this process began.
 * @param {string} text one line
 */
export function step(text) {
  process.stderr.write(`[${((performance.now() - started) / 1000).toFixed(1).padStart(6)} s] ${text}\n`)
}
