/** Finds SPIRE's server and agent, which issue JWT-SVIDs to workloads, or builds them from source with Go. */
import { rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isExecutable, run, SetupError, which } from './command.mjs'
import { answers, goSources } from './go.mjs'
import { once } from './once.mjs'

const version = '1.13.3'
const source = 'github.com/spiffe/spire'
/** Milliseconds for each of the two: the cloud libraries that both are made of take minutes to compile. */
const buildTime = 1_800_000

/**
 * Those in the folder $POSTERN_SPIRE, else a `spire-server` and `spire-agent` on PATH that run, else ones built by Go in the cache.
 * @returns {Promise<{ server: string, agent: string } | { reason: string }>} absolute paths, or why there are none
 * @throws {SetupError} when those of $POSTERN_SPIRE do not run, or SPIRE cannot be fetched or built
 */
export async function ensureSpire() {
  const chosen = process.env.POSTERN_SPIRE
  if (chosen) {
    if (await bothAnswer(programs(chosen))) return programs(chosen)
    throw new SetupError(`POSTERN_SPIRE=${chosen}: expected a folder whose spire-server and spire-agent answer to "--version"`)
  }
  const found = which('spire-server')
  if (found && (await bothAnswer(programs(dirname(found))))) return programs(dirname(found))
  const go = which('go')
  if (go === undefined)
    return {
      reason:
        'SPIRE is built by Go 1.25 or newer, and go is not on PATH (or set POSTERN_SPIRE to a folder with spire-server and spire-agent)',
    }
  if (which('cc') === undefined)
    return {
      reason:
        'SPIRE is built with a C compiler, and cc is not on PATH (or set POSTERN_SPIRE to a folder with spire-server and spire-agent)',
    }
  const folder = await once(`spire-${version}`, `building SPIRE ${version} (Go): about ten minutes`, (scratch) => build(go, scratch))
  const built = programs(folder)
  if (!isExecutable(built.server) || !isExecutable(built.agent))
    throw new SetupError(`${folder} is not whole: remove it and run this again`)
  return built
}

/** @param {string} folder */
const programs = (folder) => ({ server: join(folder, 'spire-server'), agent: join(folder, 'spire-agent') })

/** @param {{ server: string, agent: string }} paths */
const bothAnswer = async ({ server, agent }) => (await answers(server, '--version')) && (await answers(agent, '--version'))

/** @param {string} go @param {string} scratch */
async function build(go, scratch) {
  const env = { GOWORK: 'off', GOFLAGS: '' }
  const sources = await goSources(go, `${source}@v${version}`, scratch, env)
  rmSync(join(sources, 'vendor'), { recursive: true, force: true })
  const flags = ['-mod=mod', '-buildvcs=false', '-trimpath', '-p=1', '-ldflags', `-s -w -X ${source}/pkg/common/version.gittag=${version}`]
  /** @param {string} name @param {'0' | '1'} cgo */
  const compile = (name, cgo) =>
    run(go, ['build', ...flags, '-o', `../${name}`, `./cmd/${name}`], { cwd: sources, env: { ...env, CGO_ENABLED: cgo }, limit: buildTime })
  // The server's SQLite is written in C.
  await compile('spire-server', '1')
  await compile('spire-agent', '0')
  rmSync(sources, { recursive: true })
}
