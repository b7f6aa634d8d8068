/** Finds SPIRE's controller manager, which registers Kubernetes workloads with a SPIRE server, or builds it from source with Go. */
import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, run, SetupError, which } from './command.mjs'
import { goSources } from './go.mjs'
import { once } from './once.mjs'

const version = '0.6.3'
const source = 'github.com/spiffe/spire-controller-manager'
/** Milliseconds: Kubernetes' client libraries take minutes to compile. */
const buildTime = 1_800_000

/**
 * The program and its custom resource definitions: those in the folder $POSTERN_SPIRE_CONTROLLER_MANAGER, laid out as this script
 * leaves them (`spire-controller-manager` and `crd/*.yaml`), else ones of the module's sources, built by Go in the cache. One on PATH
 * is not looked for: it comes without the definitions.
 * @returns {Promise<{ folder: string } | { reason: string }>} an absolute path, or why there is none
 * @throws {SetupError} when the folder is not whole, or it cannot be fetched or built
 */
export async function ensureSpireControllerManager() {
  const chosen = process.env.POSTERN_SPIRE_CONTROLLER_MANAGER
  if (chosen) {
    if (isExecutable(join(chosen, 'spire-controller-manager'))) return { folder: chosen }
    throw new SetupError(`POSTERN_SPIRE_CONTROLLER_MANAGER=${chosen}: expected a folder with spire-controller-manager and crd/`)
  }
  const go = which('go')
  if (go === undefined)
    return {
      reason:
        'the SPIRE controller manager is built by Go 1.25 or newer, and go is not on PATH (or set POSTERN_SPIRE_CONTROLLER_MANAGER to a folder with it)',
    }
  const folder = await once(
    `spire-controller-manager-${version}`,
    `building the SPIRE controller manager ${version} (Go): a few minutes`,
    (scratch) => build(go, scratch),
  )
  if (!isExecutable(join(folder, 'spire-controller-manager'))) throw new SetupError(`${folder} is not whole: remove it and run this again`)
  return { folder }
}

/** @param {string} go @param {string} scratch */
async function build(go, scratch) {
  const env = { GOWORK: 'off', GOFLAGS: '', CGO_ENABLED: '0' }
  const sources = await goSources(go, `${source}@v${version}`, scratch, env)
  rmSync(join(sources, 'vendor'), { recursive: true, force: true })
  const flags = ['-mod=mod', '-buildvcs=false', '-trimpath', '-p=1', '-ldflags', '-s -w']
  await run(go, ['build', ...flags, '-o', '../spire-controller-manager', './cmd'], { cwd: sources, env, limit: buildTime })
  // Its definitions belong to this version of the program.
  cpSync(join(sources, 'config', 'crd', 'bases'), join(scratch, 'crd'), { recursive: true })
  rmSync(sources, { recursive: true })
}
