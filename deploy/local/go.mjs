/** Sources of Go modules, and whether a program that was built of them runs. */
import { chmodSync, cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cachePath } from './cache.mjs'
import { CommandError, run } from './command.mjs'

/**
 * Fetches a module and copies its sources to where they may be changed.
 * @param {string} go
 * @param {string} module with its version
 * @param {string} scratch folder for the copy
 * @param {Record<string, string>} env
 * @returns {Promise<string>} the copy
 */
export async function goSources(go, module, scratch, env) {
  const fetched = JSON.parse(await run(go, ['mod', 'download', '-json', module], { cwd: scratch, env }))
  const sources = join(scratch, 'sources')
  cpSync(fetched.Dir, sources, { recursive: true })
  makeWritable(sources)
  return sources
}

/** Go keeps modules read-only; so would the copy be. @param {string} folder */
function makeWritable(folder) {
  chmodSync(folder, 0o755)
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) makeWritable(path)
    else chmodSync(path, 0o644)
  }
}

/** Whether a program answers to being asked for its version. @param {string} path @param {string} argument */
export async function answers(path, argument) {
  try {
    await run(path, [argument], { limit: 10_000, cwd: cachePath() })
    return true
  } catch (error) {
    if (error instanceof CommandError) return false
    throw error
  }
}
