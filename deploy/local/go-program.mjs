/** Programs that are built from source with Go: one that the user names, else one on PATH, else one built in the cache. */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { isExecutable, run, SetupError, which } from './command.mjs'
import { answers, goSources } from './go.mjs'
import { once } from './once.mjs'

/** Milliseconds: the cloud libraries that such programs are made of take minutes to compile. */
const buildTime = 1_800_000

/**
 * `name`: as it is called on PATH and in the cache; `title`: as people call it; `env`: the variable that names a built one; `asks`: the
 * argument that a working one answers to; `go`: the oldest Go that builds it; `takes`: how long that is, where it is long; `cc`: whether it
 * is built with a C compiler too; `look`: where one may be installed already (else on PATH).
 * @typedef {{
 *   name: string, title: string, version: string, env: string, asks: string, go: string, takes?: string, cc?: boolean,
 *   look?: () => readonly string[], build: (kit: Kit) => Promise<void>,
 * }} GoProgram
 *
 * What a build works with: `install` builds the package of a module, `fetch` gets the sources of one to where they may be changed, and
 * `compile` builds a package of those under the program's own name.
 * @typedef {{
 *   install: (program: string, ldflags: string) => Promise<void>,
 *   fetch: (module: string) => Promise<string>,
 *   edit: (...args: readonly string[]) => Promise<void>,
 *   compile: (path: string, options?: { ldflags?: string, tags?: string }) => Promise<void>,
 * }} Kit
 */

/**
 * @param {GoProgram} program
 * @returns {Promise<{ path: string } | { reason: string }>} its absolute path, or why there is none
 * @throws {SetupError} when the one that the user named does not run, or it cannot be fetched or built
 */
export async function ensureGoProgram(program) {
  const { name, title, version, env, asks } = program
  const chosen = process.env[env]
  if (chosen) {
    if (await answers(chosen, asks)) return { path: chosen }
    throw new SetupError(`${env}=${chosen}: expected the path of a program that answers to "${asks}"`)
  }
  const installed = which(name)
  for (const found of program.look?.() ?? (installed === undefined ? [] : [installed]))
    if (isExecutable(found) && (await answers(found, asks))) return { path: found }
  const go = which('go')
  if (go === undefined)
    return { reason: `${title} is built by Go ${program.go} or newer, and go is not on PATH (or set ${env} to a built one)` }
  if (program.cc === true && which('cc') === undefined)
    return { reason: `${title} is built with a C compiler, and cc is not on PATH (or set ${env} to a built one)` }
  const takes = program.takes === undefined ? '' : `: ${program.takes}`
  const folder = await once(`${name}-${version}`, `building ${title} ${version} (Go)${takes}`, async (scratch) => {
    await program.build(kit(go, program, scratch))
    rmSync(join(scratch, 'sources'), { recursive: true, force: true })
  })
  const path = join(folder, name)
  if (!isExecutable(path)) throw new SetupError(`${path} is missing: remove ${folder} and run this again`)
  return { path }
}

/** @param {string} go @param {GoProgram} program @param {string} scratch @returns {Kit} */
function kit(go, { name, cc }, scratch) {
  const env = { GOWORK: 'off', GOFLAGS: '', CGO_ENABLED: cc === true ? '1' : '0' }
  const sources = join(scratch, 'sources')
  const flags = ['-buildvcs=false', '-trimpath', '-p=2']
  // Behind whatever else the machine does: a build is never what somebody waits for.
  /** @param {readonly string[]} args @param {string} cwd @param {Record<string, string>} more */
  const build = async (args, cwd, more = {}) =>
    void (await run('nice', ['-n', '15', go, ...args], { cwd, env: { ...env, ...more }, limit: buildTime }))
  return {
    install: (path, ldflags) => build(['install', ...flags, '-ldflags', ldflags, path], scratch, { GOBIN: scratch }),
    fetch: async (module) => {
      await goSources(go, module, scratch, env)
      rmSync(join(sources, 'vendor'), { recursive: true, force: true })
      return sources
    },
    edit: async (...args) => void (await run(go, ['mod', 'edit', ...args], { cwd: sources, env })),
    compile: (path, { ldflags = '', tags } = {}) => {
      const tagged = tags === undefined ? [] : ['-tags', tags]
      return build(['build', '-mod=mod', ...flags, '-ldflags', `-s -w ${ldflags}`.trim(), ...tagged, '-o', `../${name}`, path], sources)
    },
  }
}
