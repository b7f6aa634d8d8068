/** Fetches Schemathesis, which asks a service all that its OpenAPI document allows and forbids, from PyPI. */
import { join } from 'node:path'
import { isExecutable, SetupError } from './command.mjs'
import { ensurePythonFolder } from './python.mjs'

const version = '4.32.5'

/**
 * @returns {Promise<{ command: string, args: readonly string[] }>} how it is run
 * @throws {SetupError} when there is no Python, or the package cannot be had
 */
export async function ensureSchemathesis() {
  const what = `fetching Schemathesis ${version} from PyPI`
  const { python, packages } = await ensurePythonFolder(`schemathesis-${version}`, what, [`schemathesis==${version}`])
  if (!isExecutable(python)) throw new SetupError(`${python} is missing: remove the folder of ${join(packages)} and run this again`)
  return { command: python, args: ['-m', 'schemathesis.cli'] }
}
