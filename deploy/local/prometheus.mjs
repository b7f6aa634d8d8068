/** Finds Prometheus and promtool, or fetches Debian's. */
import { join } from 'node:path'
import { CommandError, isExecutable, run, SetupError, which } from './command.mjs'
import { unpackFromDebian } from './debian.mjs'

/**
 * $POSTERN_PROMETHEUS (a folder with both programs), else those on PATH, else the ones of Debian's package, unpacked in the cache.
 * @returns {Promise<{ prometheus: string, promtool: string } | { reason: string }>} their absolute paths, or why there are none
 * @throws {SetupError} when what the user named, or what was fetched, does not run
 */
export async function ensurePrometheus() {
  const chosen = process.env.POSTERN_PROMETHEUS
  if (chosen) return await tried(chosen, `POSTERN_PROMETHEUS=${chosen}: expected a folder with prometheus and promtool`)
  const [prometheus, promtool] = [which('prometheus'), which('promtool')]
  if (prometheus !== undefined && promtool !== undefined) return { prometheus, promtool }
  const root = await unpackFromDebian('prometheus')
  if (root === undefined)
    return {
      reason: "Prometheus comes from Debian's packages, which are not to be had here: install it, or set POSTERN_PROMETHEUS to its folder",
    }
  return await tried(join(root, 'usr/bin'), `${root}: remove it and run this again`)
}

/** @param {string} folder @param {string} advice */
async function tried(folder, advice) {
  const found = { prometheus: join(folder, 'prometheus'), promtool: join(folder, 'promtool') }
  try {
    if (!Object.values(found).every(isExecutable)) throw new SetupError(advice)
    for (const path of Object.values(found)) await run(path, ['--version'], { limit: 20_000 })
  } catch (error) {
    if (error instanceof CommandError) throw new SetupError(`${advice}\n${error.message}`)
    throw error
  }
  return found
}
