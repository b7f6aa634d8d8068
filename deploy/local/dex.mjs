/** Finds dex, a second OpenID Connect issuer for the tests, or builds it from source with Go. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, run, SetupError, which } from './command.mjs'
import { answers, goSources } from './go.mjs'
import { once } from './once.mjs'

const version = '2.41.1'
const source = 'github.com/dexidp/dex'
/** Its tags from 2 on do not follow Go's rules for modules, so that a release is named by its commit. */
const commit = 'v0.0.0-20240807174518-43956db7fd75'
const api = 'github.com/dexidp/dex/api/v2'
const buildTime = 600_000

/**
 * $POSTERN_DEX, else a `dex` on PATH that runs, else one built by Go in the cache.
 * @returns {Promise<{ path: string } | { reason: string }>} the absolute path of a dex, or why there is none
 * @throws {SetupError} when $POSTERN_DEX does not run, or it cannot be fetched or built
 */
export async function ensureDex() {
  const chosen = process.env.POSTERN_DEX
  if (chosen) {
    if (await answers(chosen, 'version')) return { path: chosen }
    throw new SetupError(`POSTERN_DEX=${chosen} does not answer to "version"`)
  }
  const found = which('dex')
  if (found && (await answers(found, 'version'))) return { path: found }
  const go = which('go')
  if (go === undefined)
    return { reason: 'dex is built by Go 1.21 or newer, and go is not on PATH (or set POSTERN_DEX to a dex of your own)' }
  if (which('cc') === undefined)
    return { reason: 'dex is built with a C compiler, and cc is not on PATH (or set POSTERN_DEX to a dex of your own)' }
  const folder = await once(`dex-${version}`, `building dex ${version} (Go)`, (scratch) => build(go, scratch))
  const path = join(folder, 'dex')
  if (!isExecutable(path)) throw new SetupError(`${path} is missing: remove ${folder} and run this again`)
  return { path }
}

/** @param {string} go @param {string} scratch */
async function build(go, scratch) {
  // Its SQLite is written in C, and this release cannot be built without.
  const env = { GOWORK: 'off', GOFLAGS: '', CGO_ENABLED: '1' }
  const sources = await goSources(go, `${source}@${commit}`, scratch, env)
  rmSync(join(sources, 'vendor'), { recursive: true, force: true })
  // The release replaces its API module by a folder that the fetched module does not hold.
  await run(go, ['mod', 'edit', `-dropreplace=${api}`, `-require=${api}@v2.2.0`], { cwd: sources, env })
  const flags = ['-mod=mod', '-buildvcs=false', '-trimpath', '-p=1', '-ldflags', `-s -w -X main.version=${version}`]
  await run(go, ['build', ...flags, '-o', '../dex', './cmd/dex'], { cwd: sources, env, limit: buildTime })
  rmSync(sources, { recursive: true })
}
