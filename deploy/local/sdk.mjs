/** AgentCube's published Python client, which the end-to-end tests run through Envoy. */
import { ensurePythonFolder } from './python.mjs'

const version = '0.1.0'

/**
 * @returns {Promise<string>} the path of a Python interpreter that can import `agentcube`
 * @throws {import('./command.mjs').SetupError} when there is no Python 3, or pip fails
 */
export async function ensureAgentcubeSdk() {
  const what = `fetching AgentCube's Python client ${version} (agentcube-sdk from PyPI)`
  const { python } = await ensurePythonFolder(`agentcube-sdk-${version}`, what, [`agentcube-sdk==${version}`])
  return python
}
