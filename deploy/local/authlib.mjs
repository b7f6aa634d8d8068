/** Finds Python's OAuth 2.0 client libraries, or fetches them from PyPI into a Python environment of their own. */
import { ensurePythonFolder } from './python.mjs'

/** Pinned with what they are made of, so that two runs a year apart test the same. */
const requirements = [
  'Authlib==1.9.9',
  'joserfc==1.8.0',
  'requests-oauthlib==2.0.0',
  'oauthlib==4.0.1',
  'requests==2.34.2',
  'cryptography==50.0.2',
]

/**
 * `Authlib` and `requests-oauthlib`.
 * @returns {Promise<string>} the interpreter that sees them
 * @throws {SetupError} when there is no Python 3, or pip fails
 */
export async function ensureAuthlib() {
  const { python } = await ensurePythonFolder('authlib-1.9.9', 'fetching Authlib and requests-oauthlib from PyPI', requirements)
  return python
}
