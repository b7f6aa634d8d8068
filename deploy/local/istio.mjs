/** Finds istiod and istioctl, or builds them from source with Go, and puts Istio's CRDs beside them. */
import { copyFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, run, SetupError, which } from './command.mjs'
import { answers, goSources } from './go.mjs'
import { once } from './once.mjs'

/** A commit of the 1.31 line: Go's proxy holds no tag of Istio's, which are no versions of a Go module. */
const version = 'v0.0.0-20260827124520-eed52ebb66ad'
const source = 'istio.io/istio'
/** Milliseconds for each of the two. */
const buildTime = 1_800_000

/**
 * Those in the folder $POSTERN_ISTIO (`pilot-discovery`, `istioctl` and `crds.yaml`), else ones built by Go in the cache.
 * @returns {Promise<{ istiod: string, istioctl: string, crds: string } | { reason: string }>} absolute paths, or why there are none
 * @throws {SetupError} when those of $POSTERN_ISTIO do not run, or Istio cannot be fetched or built
 */
export async function ensureIstiod() {
  const chosen = process.env.POSTERN_ISTIO
  if (chosen) {
    if (await whole(programs(chosen))) return programs(chosen)
    throw new SetupError(`POSTERN_ISTIO=${chosen}: expected a folder with pilot-discovery and istioctl that run, and crds.yaml`)
  }
  const go = which('go')
  if (go === undefined)
    return { reason: 'istiod is built by Go 1.26 or newer, and go is not on PATH (or set POSTERN_ISTIO to a folder with built ones)' }
  const folder = await once(`istio-1.31.0-${version.slice(-12)}`, 'building istiod and istioctl (Go): about ten minutes', (scratch) =>
    build(go, scratch),
  )
  const built = programs(folder)
  if (!isExecutable(built.istiod) || !isExecutable(built.istioctl))
    throw new SetupError(`${folder} is not whole: remove it and run this again`)
  return built
}

/** @param {string} folder */
const programs = (folder) => ({
  istiod: join(folder, 'pilot-discovery'),
  istioctl: join(folder, 'istioctl'),
  crds: join(folder, 'crds.yaml'),
})

/** @param {{ istiod: string, istioctl: string, crds: string }} paths */
const whole = async ({ istiod, istioctl, crds }) =>
  (await answers(istiod, 'version')) && (await answers(istioctl, '--help')) && statSync(crds, { throwIfNoEntry: false }) !== undefined

/** @param {string} go @param {string} scratch */
async function build(go, scratch) {
  const env = { GOWORK: 'off', GOFLAGS: '', CGO_ENABLED: '0' }
  const sources = await goSources(go, `${source}@${version}`, scratch, env)
  rmSync(join(sources, 'vendor'), { recursive: true, force: true })
  const flags = ['-mod=mod', '-buildvcs=false', '-trimpath', '-p=2', '-ldflags', '-s -w']
  /** @param {string} name @param {string} path */
  const compile = (name, path) => run(go, ['build', ...flags, '-o', `../${name}`, path], { cwd: sources, env, limit: buildTime })
  await compile('pilot-discovery', './pilot/cmd/pilot-discovery')
  await compile('istioctl', './istioctl/cmd/istioctl')
  copyFileSync(join(sources, 'manifests/charts/base/files/crd-all.gen.yaml'), join(scratch, 'crds.yaml'))
  rmSync(sources, { recursive: true })
}
